"""From an experiment's winner to a model package and a registered version."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import Tensor

from aufleet import __version__
from aufleet.data.dataset import open_dataset
from aufleet.data.manifest import MANIFEST_KEY
from aufleet.domain.action_units import label_of
from aufleet.domain.palsy import GRADES
from aufleet.errors import ConfigError, RegistryError
from aufleet.registry.calibration import (
    choose_thresholds,
    fit_grade_temperature,
    fit_unit_temperature,
    grade_reliability,
    unit_reliability,
)
from aufleet.registry.card import Architecture, Card, DatasetReference, FoldScore, Reliability
from aufleet.registry.gates import Gates
from aufleet.registry.package import pack_members, write_package
from aufleet.registry.versions import CHAMPION, ModelVersion, Versions
from aufleet.storage import Store, sha256_of
from aufleet.training.checkpoints import MODEL, VALIDATION, read_checkpoint, read_tensors
from aufleet.training.config import TrialConfig
from aufleet.training.trial import build_network
from aufleet.tuning.gating import what_speaks_against
from aufleet.tuning.leaderboard import read_leaderboard
from aufleet.tuning.ledger import Ledger, TestRecord, TrialRecord

Kind = Literal["ensemble", "best-fold"]


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A winner as a registered version."""

    version: ModelVersion
    card: Card


@dataclass(frozen=True, kw_only=True)
class AliasRequest:
    """An alias that is to move.

    Attributes:
        alias: "champion" or "candidate".
        gates: What the version must show.
        evaluate_on: A data set to show it on; empty: the scores of the folds.
        force: Move it whatever the gates say.
        reason: Why, for the history; needed with `force`.
    """

    alias: str = CHAMPION
    gates: Gates = field(default_factory=Gates)
    evaluate_on: str = ""
    force: bool = False
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse force without a reason.

        Raises:
            ConfigError: There is none.
        """
        if self.force and not self.reason:
            raise ConfigError("force needs a reason", "say why with --reason: it stays on record")


@dataclass(frozen=True, kw_only=True)
class _Calibration:
    temperature: float
    thresholds: dict[str, float]
    reliability: Reliability


def promote(
    store: Store,
    *,
    root: Store,
    versions: Versions,
    kind: Kind = "ensemble",
    move: AliasRequest,
) -> Promotion:
    """Make a package of an experiment's winner, register it and point an alias to it.

    Promoting the same winner again makes the same package and keeps its version.

    Args:
        store: The experiment's store.
        root: The root store, where the package goes.
        versions: The registry.
        kind: All folds of the winner together, or its best fold alone.
        move: Which alias is to point to it, and what it must show first.

    Raises:
        ConfigError: There is no such experiment or alias.
        RegistryError: It has no winner yet, was trained on shuffled labels, or a gate is shut: the
            version is registered then and no alias moves.
    """
    leaderboard = read_leaderboard(store)
    winner = leaderboard.winner
    if winner is None:
        raise RegistryError(
            f"no configuration of {store.uri} has all its folds", "finish it with `aufleet tune`"
        )
    ledger = Ledger(store)
    records = [
        one
        for one in ledger.trials()
        if one.config_id == winner.config_id and one.status == "finished"
    ]
    if records[0].settings["shuffle_labels"]:
        raise RegistryError(f"{store.uri} was trained on shuffled labels", "it is a check only")
    if kind == "best-fold":
        records = [max(records, key=lambda one: one.score or 0.0)]
    tests = [one for one in ledger.tests() if one.config_id == winner.config_id]
    members = {f"fold{one.fold}": _tensors(store, one, MODEL) for one in records}
    weights = pack_members(members)
    card = _card(
        leaderboard.experiment,
        store=store,
        records=records,
        tests=tests,
        weights=weights,
        kind=kind,
    )
    version = versions.register(card, package_uri=write_package(card, weights, root=root))
    _move_alias(version, move, versions=versions)
    return Promotion(version=versions.resolve(card.name, version.version), card=card)


def _move_alias(version: ModelVersion, move: AliasRequest, *, versions: Versions) -> None:
    """Point the alias to a version that may have it.

    Raises:
        RegistryError: A gate is shut, and nobody forces it.
    """
    if not move.force:
        against = what_speaks_against(
            version,
            champion=versions.holder_of(version.name, CHAMPION),
            gates=move.gates,
            evaluate_on=move.evaluate_on,
        )
        if against:
            raise RegistryError(
                f"{version.name}:{version.version} is registered, {move.alias} does not move to "
                f"it: {'; '.join(against)}",
                "move it all the same with --force --reason WHY",
            )
    reason = f"forced: {move.reason}" if move.force else move.reason
    versions.set_alias(version.name, version=version.version, alias=move.alias, reason=reason)


def _card(
    name: str,
    *,
    store: Store,
    records: Sequence[TrialRecord],
    tests: Sequence[TestRecord],
    weights: bytes,
    kind: Kind,
) -> Card:
    trial = TrialConfig.from_settings(records[0].settings)
    dataset = open_dataset(trial.dataset)
    units = (trial.units or dataset.manifest.units) if trial.task == "au" else ()
    network = build_network(trial, units or None)
    options = {key: value for key, value in network.config.items() if key != "name"}
    calibration = _calibrate(store, records=records, units=units)
    return Card(
        name=name,
        task=trial.task,
        kind=kind,
        architecture=Architecture(name=trial.model, options=options),
        members=tuple(f"fold{one.fold}" for one in records),
        units=units,
        grades=() if units else tuple(grade.label for grade in GRADES),
        frame_size=network.frame_size,
        thresholds=calibration.thresholds,
        temperature=calibration.temperature,
        reliability=calibration.reliability,
        scores=tuple(_fold_scores(records, tests=tests)),
        dataset=DatasetReference(
            uri=dataset.uri, manifest_sha256=sha256_of(dataset.store.read(MANIFEST_KEY))
        ),
        code_version=__version__,
        trials=tuple(one.trial_id for one in records),
        created=max(one.ended for one in records),
        weights_sha256=sha256_of(weights),
        weights_size_bytes=len(weights),
    )


def _calibrate(
    store: Store, *, records: Sequence[TrialRecord], units: Sequence[int]
) -> _Calibration:
    """Return temperature and thresholds from what each fold said of its validation subjects."""
    parts = [_tensors(store, one, VALIDATION) for one in records]
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


def _tensors(store: Store, record: TrialRecord, name: str) -> dict[str, Tensor]:
    trial_store = store.child(f"trials/{record.trial_id}")
    return read_tensors(trial_store, read_checkpoint(trial_store, record.checkpoint), name)


def _fold_scores(records: Sequence[TrialRecord], *, tests: Sequence[TestRecord]) -> list[FoldScore]:
    folds = {one.fold for one in records}
    parts = [("validation", one) for one in records]
    parts += [("test", one) for one in tests if one.fold in folds]
    return [
        FoldScore(
            fold=one.fold,
            part="test" if part == "test" else "validation",
            macro_f1=one.score or 0.0,
            per_label=one.per_label,
            constant=one.constant,
            kappa=one.kappa if isinstance(one, TestRecord) else None,
        )
        for part, one in parts
    ]
