"""Whether a version may have an alias: it and the champion, judged on the same data."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from aufleet.data.dataset import Dataset, open_dataset
from aufleet.errors import RegistryError
from aufleet.registry.card import Card
from aufleet.registry.gates import Gates, Standing, failures, own_standing, shared_standings
from aufleet.registry.package import load_package, read_card
from aufleet.registry.versions import ModelVersion
from aufleet.training.scoring import Plan, plan_scoring, predict, score_dataset
from aufleet.training.trained import TrainedModel, open_trained
from aufleet_models.inference import InferenceModel

_WARM_UP, _TIMED = 3, 15


def what_speaks_against(
    version: ModelVersion, *, champion: ModelVersion | None, gates: Gates, evaluate_on: str = ""
) -> list[str]:
    """Return what keeps a version from an alias, a sentence each.

    Args:
        version: The version that is to have it.
        champion: The model's present champion, if it has one.
        gates: The bounds.
        evaluate_on: A data set on which both are scored, on subjects that neither knows; without
            it the scores of their cards are compared, if they come from the same folds.

    Raises:
        RegistryError: Nothing compares the two.
        ConfigError: The data set holds nobody whom neither knows, or no unit in common.
    """
    rival = None if champion is None or champion.digest == version.digest else champion
    if evaluate_on:
        mine, theirs = _scored(version, rival, open_dataset(evaluate_on))
    else:
        mine, theirs = _by_cards(read_card(version.package_uri), rival)
    if gates.max_ms is not None:
        mine = replace(mine, ms=frame_ms(version.package_uri))
    return failures(gates, mine, champion=theirs)


def frame_ms(package_uri: str) -> float:
    """Return the median time, in ms, in which a package answers one frame on this machine."""
    package = load_package(package_uri)
    network, size = InferenceModel(package.model), package.card.frame_size
    frame = torch.zeros(1, 3, size, size)
    taken_s = []
    with torch.inference_mode():
        for _ in range(_WARM_UP + _TIMED):
            began_s = time.perf_counter()
            network(frame)
            taken_s.append(time.perf_counter() - began_s)
    return 1e3 * float(np.median(taken_s[_WARM_UP:]))


def _by_cards(card: Card, rival: ModelVersion | None) -> tuple[Standing, Standing | None]:
    if rival is None:
        return own_standing(card), None
    shared = shared_standings(card, read_card(rival.package_uri))
    if shared is None:
        raise RegistryError(
            f"version {rival.version} of {rival.name}, the champion, was scored on other data",
            "name a data set that neither knows with --evaluate-on, or use --force",
        )
    return shared


def _scored(
    version: ModelVersion, rival: ModelVersion | None, dataset: Dataset
) -> tuple[Standing, Standing | None]:
    models = [open_trained(one.package_uri) for one in (version, rival) if one]
    plans = [plan_scoring(model, dataset, unseen=True) for model in models]
    everyone = set.intersection(*(set(plan.subjects) for plan in plans))
    if not everyone:
        raise RegistryError(
            f"{dataset.uri} holds nobody whom neither version knows", "name other data"
        )
    standings = [
        _standing(model, replace(plan, subjects=_in_order(plan.subjects, everyone)))
        for model, plan in zip(models, plans, strict=True)
    ]
    return standings[0], standings[1] if rival else None


def _in_order(subjects: Sequence[str], chosen: set[str]) -> tuple[str, ...]:
    return tuple(subject for subject in subjects if subject in chosen)


def _standing(model: TrainedModel, plan: Plan) -> Standing:
    score = score_dataset(predict(model, plan), plan=plan, thresholds=model.thresholds)
    return Standing(
        f1=score.pooled.per_label,
        kappa=None if plan.units else score.pooled.kappa,
    )
