"""Trials that train nothing: their scores follow from their settings.

They keep what real ones promise: an object of the store tells how far a trial is, so that a new
attempt goes on where the last one ended; a finished one returns its result at once; and weights
name where they came from, so that a test sees a weight that crosses folds or families.

The functions are closures on purpose: Ray sends those by value, so workers need not find this file.
"""

from collections.abc import Callable
from typing import Any

from aufleet.storage import Store
from aufleet.training.config import TrialConfig


def toy_trial(*, pause_s: float = 0.0, on_epoch: Callable[..., None] | None = None) -> Any:
    """Return a trial that gets better with each epoch, up to its learning rate.

    Args:
        pause_s: Seconds that an epoch takes.
        on_epoch: Called with the trial, its store and the epoch, before each.
    """

    def run_trial(config: TrialConfig, *, store: Store, report: Any, ranks: Any = None) -> Any:
        import json
        import time

        from aufleet.storage import open_store
        from aufleet.training.results import EpochReport, TrialResult

        is_first = ranks is None or ranks.is_first
        mark = [config.model, config.fold]
        if config.initialize_from and is_first:
            source = open_store(config.initialize_from.uri.replace("{fold}", str(config.fold)))
            found = json.loads(source.read("weights.json"))
            assert found == mark, f"the weights of {found} cross to {mark}"
        done = 0
        while is_first and store.exists(f"epoch-{done + 1}"):
            done += 1

        def told(epoch: int) -> EpochReport:
            score = config.learning_rate * epoch / config.epochs + config.fold / 1000
            return EpochReport(
                epoch=epoch,
                score=score,
                loss=1 - score,
                train_loss=1 - score,
                per_label={"AU1": score},
                accuracy_per_label={"AU1": 0.9},
                auc={"AU1": 0.8},
                seconds=pause_s,
                frames_per_s=1.0,
                learning_rate=config.learning_rate,
            )

        for epoch in range(done + 1, config.epochs + 1):
            if not is_first:
                break
            if on_epoch:
                on_epoch(config, store, epoch)
            time.sleep(pause_s)
            store.write(f"epoch-{epoch}", b"")
            store.write("weights.json", json.dumps(mark).encode())
            if not report(told(epoch)):
                break
        last = told(config.epochs)
        return TrialResult(
            best_epoch=config.epochs,
            score=last.score,
            loss=last.loss,
            per_label=last.per_label,
            constant={"AU1": 0.05},
            checkpoint="checkpoint",
            epochs=tuple(told(epoch) for epoch in range(1, config.epochs + 1)),
            seconds=pause_s * config.epochs,
        )

    return run_trial


def toy_test() -> Any:
    """Return what scores a toy trial on its test part."""

    def score_test(config: TrialConfig, *, store: Store, checkpoint: str) -> Any:
        import json
        from dataclasses import asdict

        from aufleet.training.results import TestScore

        score = TestScore(
            score=config.learning_rate / 2,
            loss=1.0,
            per_label={"AU1": 0.1},
            constant={"AU1": 0.05},
            num_frames=7,
            checkpoint=checkpoint,
            predictions="",
        )
        store.write_new("test.json", json.dumps(asdict(score)).encode())
        return score

    return score_test


class Ear:
    """A listener that remembers the names of what it heard, and the last argument."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.events: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        """Return a method that remembers."""

        def hear(*arguments: object, **named: object) -> None:
            self.events.append((name, arguments[-1] if arguments else named))

        return hear

    def of(self, name: str) -> list[Any]:
        """Return what came under a name."""
        return [what for event, what in self.events if event == name]
