"""A winner trained once more, on all subjects."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median_low

from torch import Tensor

from aufleet.domain.folds import NO_FOLD
from aufleet.errors import TrainingError
from aufleet.storage import Store
from aufleet.training.checkpoints import MODEL, Checkpoints, read_tensors
from aufleet.training.config import TrialConfig
from aufleet.training.results import EpochReport
from aufleet.training.trial import run_trial


@dataclass(frozen=True, kw_only=True)
class Refit:
    """One network for all subjects.

    Attributes:
        config: A trial of the winner, whichever fold.
        epochs: How long it is trained; the learning rate falls as it did in the trials.
    """

    config: TrialConfig
    epochs: int

    @classmethod
    def of(cls, config: TrialConfig, *, best_epochs: list[int]) -> "Refit":
        """Return the refit of a winner: as long as the middle one of its folds took to its best."""
        # One process: what the ranks did side by side it does in turn, with the same batch norms.
        alone = replace(
            config, fold=NO_FOLD, ranks=1, accumulation=config.ranks * config.accumulation
        )
        return cls(config=alone, epochs=median_low(best_epochs))

    def run(self, store: Store, *, watch: Callable[[EpochReport], None]) -> dict[str, Tensor]:
        """Train, or go on with, the network and return its weights.

        Args:
            store: Its own; an equal call goes on from the last whole epoch there.
            watch: Called after each epoch. Its scores are of a subject that is trained on, so they
                choose nothing.

        Raises:
            As `run_trial`.
        """

        def wants_more(report: EpochReport) -> bool:
            watch(report)
            return report.epoch < self.epochs

        checkpoints = Checkpoints(store=store, config=self.config)
        newest = checkpoints.newest()
        if newest is None or newest.epoch < self.epochs:
            run_trial(self.config, store=store, report=wants_more)
            newest = checkpoints.newest()
        if newest is None:
            raise TrainingError(f"the refit in {store.uri} left no checkpoint")
        return read_tensors(store, newest, MODEL)
