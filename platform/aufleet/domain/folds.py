"""Subject-exclusive three-fold splits.

A data set's subjects form three parts; fold k tests on part k and trains on the two others. Some
subjects of the training parts are held out as validation: they choose the epoch and judge trials.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aufleet.errors import ConfigError

NUM_FOLDS = 3
NO_FOLD = 0
"""Stands in the place of a fold where a model is trained on all subjects: a refit."""

BP4D_PARTS = (
    "F001 F002 F008 F009 F010 F016 F018 F023 M001 M004 M007 M008 M012 M014".split(),
    "F003 F005 F011 F013 F020 F022 M002 M005 M010 M011 M013 M016 M017 M018".split(),
    "F004 F006 F007 F012 F014 F015 F017 F019 F021 M003 M006 M009 M015".split(),
)
DISFA_PARTS = (
    "SN001 SN002 SN009 SN010 SN016 SN026 SN027 SN030 SN032".split(),
    "SN006 SN011 SN012 SN013 SN018 SN021 SN024 SN028 SN031".split(),
    "SN003 SN004 SN005 SN007 SN008 SN017 SN023 SN025 SN029".split(),
)


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One split of the subjects; the three lists share no subject."""

    number: int
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a split in which a subject stands twice."""
        every = [*self.train, *self.validation, *self.test]
        twice = sorted({subject for subject in every if every.count(subject) > 1})
        if twice:
            raise ConfigError(
                f"fold {self.number} uses subject {twice[0]} in more than one part",
                "a subject belongs to exactly one of train, validation and test",
            )


def split_by_subject(
    strata: Mapping[str, object],
    *,
    seed: int,
    num_validation: int = 1,
    parts: Sequence[Sequence[str]] | None = None,
) -> tuple[Fold, ...]:
    """Return three folds that never share a subject, the same for the same seed.

    Args:
        strata: Subject -> stratum (a grade, a side, or one value for all); each part gets its share
            of every stratum.
        seed: Decides who goes where.
        num_validation: Subjects held out of each of the two training parts of a fold.
        parts: The three parts where a protocol fixes them (BP4D, DISFA).

    Raises:
        ConfigError: Too few subjects for three parts with validation.
    """
    fewest = NUM_FOLDS * (num_validation + 1)
    if len(strata) < fewest:
        raise ConfigError(
            f"{len(strata)} subjects cannot be split into three folds",
            f"at least {fewest} are needed with {num_validation} validation subjects per part",
        )
    chosen = [list(part) for part in parts] if parts else _deal(strata, seed=seed)
    folds = []
    for number in range(1, NUM_FOLDS + 1):
        others = [part for index, part in enumerate(chosen, start=1) if index != number]
        rng = random.Random(f"validation-{seed}-{number}")
        held = [subject for part in others for subject in rng.sample(sorted(part), num_validation)]
        folds.append(
            Fold(
                number=number,
                train=tuple(s for part in others for s in sorted(part) if s not in held),
                validation=tuple(sorted(held)),
                test=tuple(sorted(chosen[number - 1])),
            )
        )
    return tuple(folds)


def _deal(strata: Mapping[str, object], *, seed: int) -> list[list[str]]:
    """Deal the shuffled subjects of each stratum to the parts in turn, like cards."""
    rng = random.Random(seed)
    by_stratum: dict[str, list[str]] = {}
    # Sorted first: object stores list in an order that differs between stores.
    for subject in sorted(strata):
        by_stratum.setdefault(str(strata[subject]), []).append(subject)
    deck = []
    for stratum in sorted(by_stratum):
        rng.shuffle(by_stratum[stratum])
        deck += by_stratum[stratum]
    return [deck[start::NUM_FOLDS] for start in range(NUM_FOLDS)]
