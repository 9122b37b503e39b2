"""A search that never ran: its ledger, with everything that a report can show."""

import random
import statistics
from datetime import UTC, datetime

from aufleet.storage import Store
from aufleet.tuning.experiment import Experiment, parse_experiment
from aufleet.tuning.judge import Judge, Member, Rules
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.records import (
    CurvePoint,
    RungRecord,
    StopRecord,
    TestRecord,
    TrialRecord,
)

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
UNITS = ("AU1", "AU2", "AU4", "AU6", "AU7", "AU10", "AU12", "AU14", "AU15", "AU17", "AU23", "AU24")
EXPERIMENT = """
name: made-up
task: au
dataset: faces/1
models: [algrnet, mgrrnet, jaanet]
fixed: {epochs: 18}
search: {learning_rate: {log_uniform: [0.001, 0.1]}, momentum: {uniform: [0.8, 0.95]},
  batch: {choice: [16, 32]}}
sampler: {kind: random, configurations: 14, seed: 0}
early_stopping: {kind: asha, grace_epochs: 2, reduction: 3}
resources: {ranks: 1, cpus_per_rank: 4, gpus_per_rank: 1}
"""


def make_up(root: Store, *, seed: int = 0) -> tuple[Store, Experiment]:
    """Write the ledger of a search below a root; returns its store and what was searched."""
    experiment = parse_experiment(EXPERIMENT, source="made-up")
    store = root.child("experiments/made-up")
    ledger = Ledger(store)
    ledger.open_experiment(experiment)
    rng = random.Random(seed)
    judge = Judge(rules=Rules(kind="asha", num_folds=3, grace=2))
    for model, level in (("algrnet", 0.58), ("mgrrnet", 0.6), ("jaanet", 0.55)):
        winner = max(
            (_configuration(ledger, judge, model, level, index, rng) for index in range(14)),
            key=lambda one: one[0],
        )[1]
        for record in winner:
            ledger.add_test(_test(record, rng))
    return store, experiment


def _configuration(
    ledger: Ledger, judge: Judge, model: str, level: float, index: int, rng: random.Random
) -> tuple[float, list[TrialRecord]]:
    config_id = f"{rng.getrandbits(40):010x}"
    rate = 10 ** rng.uniform(-3, -1)
    point = {
        "learning_rate": rate,
        "momentum": rng.uniform(0.8, 0.95),
        "batch": rng.choice((16, 32)),
    }
    from math import exp, log10

    best = level - 0.06 * (log10(rate) + 1.9) ** 2 + rng.gauss(0, 0.008)
    member, stop, records = Member(bracket=model, config_id=config_id), None, []
    for fold in (1, 2, 3):
        if stop or (index == 5 and fold == 3):
            break  # the sixth one fails on its second fold
        curve, offset = [], rng.gauss(0, 0.01)
        for epoch in range(1, 19):
            score = best + offset - (best - 0.25) * exp(-epoch / 4) + rng.gauss(0, 0.004)
            loss = 1.1 - score
            curve.append(CurvePoint(epoch=epoch, score=score, loss=loss, train_loss=loss - 0.1))
            if judge.add(member, fold=fold, epoch=epoch, score=score):
                ledger.add_rung(
                    RungRecord(
                        model=model, config_id=config_id, fold=fold, epoch=epoch, score=score
                    )
                )
            if index != 5 and (stop := judge.verdict(member)):
                break
        records.append(_trial(model, config_id, fold, point, curve, stopped=bool(stop), rng=rng))
        if not stop and (found := records[-1].score) is not None:
            judge.finish(member, fold=fold, score=found)
            stop = judge.verdict(member) if index != 5 else None
    if index == 5 and not stop:
        records[-1] = records[-1].model_copy(
            update={"status": "failed", "score": None, "reason": "the loss is NaN at epoch 3"}
        )
    for one in records:
        ledger.add_trial(one)
    if stop:
        ledger.add_stop(
            StopRecord(
                model=model,
                config_id=config_id,
                rule=stop.rule,
                epoch=stop.epoch,
                folds=stop.folds,
                mean=stop.mean,
                better=stop.better,
                compared=stop.compared,
                reason=str(stop),
                at=WHEN,
            )
        )
    scores = [one.score for one in records if one.score is not None]
    return (statistics.fmean(scores) if len(scores) == 3 else 0.0), records


def _trial(model, config_id, fold, point, curve, *, stopped, rng) -> TrialRecord:  # noqa: PLR0913
    best = max(curve, key=lambda one: one.score)
    done = {} if stopped else {
        "score": best.score,
        "loss": best.loss,
        "best_epoch": best.epoch,
        "per_label": {unit: best.score + rng.gauss(0, 0.08) for unit in UNITS},
        "constant": {unit: 0.2 + 0.3 * (index % 4) / 3 for index, unit in enumerate(UNITS)},
        "accuracy_per_label": {unit: 0.75 + rng.random() / 5 for unit in UNITS},
        "auc": {unit: 0.75 + rng.random() / 5 for unit in UNITS},
        "landmark_error": 4 + rng.random(),
    }  # fmt: skip
    return TrialRecord.model_validate(
        {
            "model": model,
            "config_id": config_id,
            "fold": fold,
            "attempt": 1,
            "status": "stopped" if stopped else "finished",
            "point": point,
            "settings": {**point, "epochs": 18, "model": model},
            "curve": curve,
            "held_s": 40.0 * len(curve),
            "cpus": 4,
            "gpus": 1,
            "ended": WHEN,
            **done,
        }
    )


def _test(record: TrialRecord, rng: random.Random) -> TestRecord:
    return TestRecord(
        model=record.model,
        config_id=record.config_id,
        fold=record.fold,
        score=(record.score or 0) - 0.02,
        per_label={unit: score - 0.02 for unit, score in record.per_label.items()},
        constant=record.constant,
        accuracy_per_label=record.accuracy_per_label,
        auc=record.auc,
        landmark_error=4.2 + rng.random() / 4,
        num_frames=4000,
    )
