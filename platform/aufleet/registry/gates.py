"""What a version must show before an alias moves to it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aufleet.registry.card import Card, FoldScore


@dataclass(frozen=True, kw_only=True)
class Gates:
    """The bounds; each is open where it is 0 or None.

    Attributes:
        min_f1: Least F1 of every unit or grade.
        min_kappa: Least quadratic-weighted kappa of a palsy grader.
        max_drop: How far F1 of a unit or grade, and kappa, may lie below the champion's.
        max_ms: Longest time for one frame on this machine, in ms.
    """

    min_f1: float = 0.0
    min_kappa: float = 0.0
    max_drop: float = 0.05
    max_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a version does on evaluation data.

    Attributes:
        f1: "AU12" or "medium" -> F1.
        kappa: Quadratic-weighted kappa; None for units, and where it is not known.
        ms: Median time for one frame; None where it was not measured.
    """

    f1: Mapping[str, float]
    kappa: float | None = None
    ms: float | None = None


def failures(gates: Gates, version: Standing, *, champion: Standing | None) -> list[str]:
    """Return what keeps a version from an alias, a sentence each; none where it may have it.

    Args:
        gates: The bounds.
        version: The version that is to have the alias.
        champion: The champion on the same evaluation data; None where there is none.
    """
    return [*_below_bounds(gates, version), *_below_champion(gates, version, champion)]


def shared_standings(version: Card, champion: Card) -> tuple[Standing, Standing] | None:
    """Return both versions' scores on what their cards have in common, or None without any.

    Scores compare where both come from the same folds of the same data set, both from the test
    parts or both from the validation parts.
    """
    if version.dataset.manifest_sha256 != champion.dataset.manifest_sha256:
        return None
    for part in ("test", "validation"):
        mine, theirs = _by_fold(version, part), _by_fold(champion, part)
        if folds := sorted(set(mine) & set(theirs)):
            return standing_of([mine[k] for k in folds]), standing_of([theirs[k] for k in folds])
    return None


def standing_of(scores: Sequence[FoldScore]) -> Standing:
    """Return the mean over folds of a card's scores."""
    kappas = [score.kappa for score in scores if score.kappa is not None]
    return Standing(
        f1={
            label: float(np.mean([score.per_label[label] for score in scores]))
            for label in scores[0].per_label
        },
        kappa=float(np.mean(kappas)) if len(kappas) == len(scores) else None,
    )


def own_standing(card: Card) -> Standing:
    """Return how a version does by its card: on the test parts where those were scored."""
    return standing_of(
        list(_by_fold(card, "test").values()) or list(_by_fold(card, "validation").values())
    )


def _by_fold(card: Card, part: str) -> dict[int, FoldScore]:
    return {score.fold: score for score in card.scores if score.part == part}


def _below_bounds(gates: Gates, version: Standing) -> Iterator[str]:
    for label, f1 in version.f1.items():
        if f1 < gates.min_f1:
            yield f"F1 of {label} is {f1:.3f}, at least {gates.min_f1:g} is asked"
    if version.kappa is None:
        if gates.min_kappa > 0:
            yield f"kappa is not known, at least {gates.min_kappa:g} is asked"
    elif version.kappa < gates.min_kappa:
        yield f"kappa is {version.kappa:.3f}, at least {gates.min_kappa:g} is asked"
    if gates.max_ms is not None and version.ms is not None and version.ms > gates.max_ms:
        yield f"a frame takes {version.ms:.1f} ms, at most {gates.max_ms:g} are allowed"


def _below_champion(gates: Gates, version: Standing, champion: Standing | None) -> Iterator[str]:
    if champion is None:
        return
    for label, theirs in champion.f1.items():
        if label not in version.f1:
            yield f"{label} is not answered, the champion answers it"
        elif version.f1[label] < theirs - gates.max_drop:
            yield f"F1 of {label} is {version.f1[label]:.3f}, the champion's {theirs:.3f}"
    if version.kappa is None or champion.kappa is None:
        return
    if version.kappa < champion.kappa - gates.max_drop:
        yield f"kappa is {version.kappa:.3f}, the champion's {champion.kappa:.3f}"
