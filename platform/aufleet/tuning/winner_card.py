"""The card of a winner: what it is, how far it can be taken at its word, how good its folds are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import Tensor

from aufleet import __version__
from aufleet.data.dataset import open_dataset
from aufleet.data.manifest import MANIFEST_KEY
from aufleet.domain.action_units import label_of
from aufleet.domain.palsy import GRADES, UNKNOWN_SIDE
from aufleet.registry.calibration import (
    choose_thresholds,
    fit_grade_temperature,
    fit_unit_temperature,
    grade_reliability,
    unit_reliability,
)
from aufleet.registry.card import Architecture, Card, DatasetReference, FoldScore, Reliability
from aufleet.storage import sha256_of
from aufleet.training.checkpoints import VALIDATION
from aufleet.training.config import TrialConfig
from aufleet.training.fold_data import open_fold
from aufleet.training.ranks import join_ranks
from aufleet.training.trial import build_network
from aufleet.tuning.winner import Winner
from aufleet_models.contract import FaceModel


@dataclass(frozen=True, kw_only=True)
class _Calibration:
    temperature: float
    thresholds: dict[str, float]
    reliability: Reliability


def card_of(winner: Winner, *, members: Sequence[str], weights: bytes) -> Card:
    """Return the card of a winner's package.

    Args:
        winner: The winner.
        members: The prefixes of the members' weights.
        weights: All of them, as they are stored.
    """
    trial = winner.config
    dataset = open_dataset(trial.dataset)
    units = (trial.units or dataset.manifest.units) if trial.task == "au" else ()
    network = build_network(trial, units or None)
    options = {key: value for key, value in network.config.items() if key != "name"}
    calibration = _calibrate(winner, units=units)
    return Card(
        name=winner.experiment,
        task=trial.task,
        kind=winner.kind,
        architecture=Architecture(name=trial.model, options=options),
        members=tuple(members),
        units=units,
        grades=() if units else tuple(grade.label for grade in GRADES),
        trained_heads=_trained_heads(trial, network),
        frame_size=network.frame_size,
        thresholds=calibration.thresholds,
        temperature=calibration.temperature,
        reliability=calibration.reliability,
        scores=tuple(_fold_scores(winner)),
        dataset=DatasetReference(
            uri=dataset.uri, manifest_sha256=sha256_of(dataset.store.read(MANIFEST_KEY))
        ),
        code_version=__version__,
        trials=tuple(one.trial_id for one in winner.records),
        refit_epochs=winner.refit.epochs if winner.refit else None,
        created=max(one.ended for one in winner.records),
        weights_sha256=sha256_of(weights),
        weights_size_bytes=len(weights),
    )


def _trained_heads(trial: TrialConfig, network: FaceModel) -> tuple[Literal["side"], ...]:
    """Return the heads beside the grades that had labels; no data set has region values yet."""
    if not network.config.get("side_head"):
        return ()
    train = open_fold(trial).train(frame_size=network.frame_size, ranks=join_ranks())
    had_labels = any(bool((batch["side"] != UNKNOWN_SIDE).any()) for batch in train.epoch(1))
    return ("side",) if had_labels else ()


def _calibrate(winner: Winner, *, units: Sequence[int]) -> _Calibration:
    """Return temperature and thresholds from what each fold said of its validation subjects."""
    parts = [winner.read(one, VALIDATION) for one in winner.records]
    logits = _pool(parts, "logits")
    if not units:
        labels = _pool(parts, "grade")
        temperature = fit_grade_temperature(logits, labels)
        return _Calibration(
            temperature=temperature,
            thresholds={},
            reliability=grade_reliability(softmax(logits / temperature, axis=1), labels),
        )
    labels = _pool(parts, "units")
    temperature = fit_unit_temperature(logits, labels)
    probabilities = expit(logits / temperature)
    thresholds = choose_thresholds(probabilities, labels)
    return _Calibration(
        temperature=temperature,
        thresholds=dict(zip(map(label_of, units), thresholds, strict=True)),
        reliability=unit_reliability(probabilities, labels),
    )


def _pool(parts: Sequence[dict[str, Tensor]], name: str) -> NDArray:
    return np.concatenate([part[name].numpy() for part in parts])


def _fold_scores(winner: Winner) -> list[FoldScore]:
    parts = [("validation", one) for one in winner.records]
    parts += [("test", one) for one in winner.tests]
    return [
        FoldScore(
            fold=one.fold,
            part="test" if part == "test" else "validation",
            macro_f1=one.score or 0.0,
            per_label=one.per_label,
            constant=one.constant,
            kappa=one.kappa,
        )
        for part, one in parts
    ]
