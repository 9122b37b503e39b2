"""An experiment's winner: its trials, and the weights that become a package."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import Tensor

from aufleet.errors import RegistryError
from aufleet.storage import Store
from aufleet.training.checkpoints import MODEL, read_checkpoint, read_tensors
from aufleet.training.config import TrialConfig
from aufleet.training.refit import Refit
from aufleet.training.results import EpochReport
from aufleet.tuning.leaderboard import read_leaderboard
from aufleet.tuning.ledger import Ledger, TestRecord, TrialRecord

Kind = Literal["ensemble", "best-fold", "refit"]
Watch = Callable[[EpochReport, int], None]
"""Called after each epoch of a refit, with the number of its epochs."""
Tensors = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The best configuration of an experiment.

    Attributes:
        experiment: The experiment's name.
        store: The experiment's store.
        kind: What is made of it.
        records: Its finished trials: of all folds, or of the best one.
        tests: Their scores on the test parts.
    """

    experiment: str
    store: Store
    kind: Kind
    records: Sequence[TrialRecord]
    tests: Sequence[TestRecord]

    @cached_property
    def config(self) -> TrialConfig:
        """The settings of its first trial: those of the others but for the fold."""
        return TrialConfig.from_settings(self.records[0].settings)

    @cached_property
    def refit(self) -> Refit | None:
        """How it is trained once more, where that is what is made of it."""
        if self.kind != "refit":
            return None
        epochs = [one.best_epoch or self.config.epochs for one in self.records]
        return Refit.of(self.config, best_epochs=epochs)

    def members(self, watch: Watch) -> dict[str, Tensors]:
        """Return the weights of each member; a refit is trained now, or continued.

        Args:
            watch: Hears of the epochs of a refit.

        Raises:
            As `run_trial`, for a refit.
        """
        refit = self.refit
        if refit is None:
            return {f"fold{one.fold}": self.read(one, MODEL) for one in self.records}
        place = self.store.child(f"refits/{self.config.model}/{self.config.config_id}")
        return {"refit": refit.run(place, watch=lambda report: watch(report, refit.epochs))}

    def read(self, record: TrialRecord, name: str) -> Tensors:
        """Return the tensors of a file of a trial's best checkpoint."""
        trial = self.store.child(f"trials/{record.trial_id}")
        return read_tensors(trial, read_checkpoint(trial, record.checkpoint), name)


def read_winner(store: Store, *, kind: Kind) -> Winner:
    """Return the winner of an experiment.

    Raises:
        ConfigError: There is no such experiment.
        RegistryError: It has no winner yet, or was trained on shuffled labels.
    """
    leaderboard = read_leaderboard(store)
    if leaderboard.winner is None:
        raise RegistryError(
            f"no configuration of {store.uri} has all its folds", "finish it with `aufleet tune`"
        )
    ledger, config_id = Ledger(store), leaderboard.winner.config_id
    mine = (one for one in ledger.trials() if one.config_id == config_id)
    records = [one for one in mine if one.status == "finished"]
    if records[0].settings["shuffle_labels"]:
        raise RegistryError(f"{store.uri} was trained on shuffled labels", "it is a check only")
    if kind == "best-fold":
        records = [max(records, key=lambda one: one.score or 0.0)]
    folds = {one.fold for one in records}
    tests = (one for one in ledger.tests() if one.config_id == config_id)
    return Winner(
        experiment=leaderboard.experiment,
        store=store,
        kind=kind,
        records=records,
        tests=[one for one in tests if one.fold in folds],
    )
