"""MLflow shows the runs: one per configuration, below it one per fold with its curves.

Only the driver writes to MLflow, and the search does not depend on it: what cannot be written is
dropped with one warning, for the ledger holds the truth.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from aufleet.registry.mlflow_session import open_mlflow
from aufleet.storage import Store
from aufleet.storage.home import state_dir
from aufleet.training.config import TrialConfig
from aufleet.training.results import EpochReport
from aufleet.tuning.grid import id_of
from aufleet.tuning.records import StopRecord, TestRecord, TrialRecord, trial_id

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_log = logging.getLogger(__name__)
_TRIAL = "aufleet.trial"
_PARENT = "mlflow.parentRunId"
_ROW = "aufleet.row"


class MlflowTracker:
    """Writes a search to an MLflow experiment of the same name, in a thread of its own."""

    def __init__(
        self,
        name: str,
        *,
        store: Store,
        uri: str | None = None,
        rows: Mapping[str, str] | None = None,
    ) -> None:
        """Write to the experiment of this name.

        Args:
            name: The experiment's name.
            store: Its store; each run names its folder there.
            uri: MLflow's server or file; None takes this machine's settings.
            rows: Row of a table -> config_id; its runs carry its name.
        """
        self._rows = {config_id: row for row, config_id in (rows or {}).items()}
        self._name, self._store, self._uri = name, store, uri
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._runs: dict[str, str] = {}
        # Opening MLflow takes seconds, in which trials can start already.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlflow")

    def search_started(
        self, *, num_trials: int, ended: Sequence[TrialRecord], num_folds: int = 1
    ) -> None:
        """Open MLflow, and find the runs of earlier calls."""
        self._try(self._open)

    def trial_started(self, trial: TrialConfig) -> None:
        """Open the run of a trial, below that of its configuration."""
        self._try(self._open_run, trial)

    def epoch_ended(self, trial: TrialConfig, report: EpochReport) -> None:
        """Write a point of each curve."""
        numbers = {
            "validation_f1": report.score,
            "validation_loss": report.loss,
            "train_loss": report.train_loss,
            "frames_per_s": report.frames_per_s,
            **{f"f1_{label}": f1 for label, f1 in report.per_label.items()},
        }
        self._try(self._log, id_of(trial), numbers, report.epoch)

    def trial_ended(self, trial: TrialConfig, record: TrialRecord) -> None:
        """Close the run of a trial."""
        self._try(self._open_run, trial)  # one that never got as far as its first epoch
        self._try(self._close, record)

    def configuration_stopped(self, record: StopRecord) -> None:
        """Close the run of a configuration, with the reason."""
        self._try(self._close_stopped, record)

    def test_started(self, *, num_folds: int) -> None:
        """Write nothing: the scores follow."""

    def test_ended(self, record: TestRecord) -> None:
        """Write the score beside the curves of its fold."""
        name = trial_id(record.model, config_id=record.config_id, fold=record.fold)
        self._try(self._log, name, {"test_f1": record.score}, 0)

    def search_ended(self) -> None:
        """Close the runs of the configurations, and wait until all is written."""
        self._try(self._close_configurations)
        self._writer.shutdown()

    def _open(self) -> None:
        client = open_mlflow(self._uri)
        known = client.get_experiment_by_name(self._name)
        self._experiment_id = (
            known.experiment_id
            if known
            else client.create_experiment(
                self._name, artifact_location=(state_dir() / "mlflow-artifacts").as_uri()
            )
        )
        self._client = client
        for run in client.search_runs([self._experiment_id]):
            if _TRIAL in run.data.tags:
                self._runs[run.data.tags[_TRIAL]] = run.info.run_id

    def _open_run(self, trial: TrialConfig) -> None:
        configuration = f"{trial.model}/{trial.config_id}"
        row = self._rows.get(trial.config_id)
        named = {_ROW: row} if row else {}
        if configuration not in self._runs:
            self._create(configuration, settings={**trial.settings, "fold": "all"}, tags=named)
        if id_of(trial) not in self._runs:
            tags = {_PARENT: self._runs[configuration], **named}
            self._create(id_of(trial), settings=trial.settings, tags=tags)

    def _create(self, name: str, *, settings: Mapping[str, Any], tags: dict[str, str]) -> None:
        from mlflow.entities import Param

        assert self._client
        folder = self._store.uri_of(f"trials/{name}")
        run: Run = self._client.create_run(
            self._experiment_id,
            run_name=name,
            tags={_TRIAL: name, "aufleet.folder": folder, **tags},
        )
        params = [Param(key, str(value)) for key, value in settings.items()]
        self._client.log_batch(run.info.run_id, params=params)
        self._runs[name] = run.info.run_id

    def _log(self, name: str, numbers: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        assert self._client
        now = round(time.time() * 1000)
        metrics = [Metric(key, value, now, step) for key, value in numbers.items()]
        self._client.log_batch(self._runs[name], metrics=metrics)

    def _close(self, record: TrialRecord) -> None:
        assert self._client
        run_id = self._runs[record.trial_id]
        if record.score is not None and record.best_epoch is not None:
            self._log(record.trial_id, {"best_f1": record.score}, record.best_epoch)
            self._client.set_terminated(run_id, "FINISHED")
        else:
            self._client.set_tag(run_id, "aufleet.reason", record.reason)
            ended = "KILLED" if record.status in ("stopped", "paused") else "FAILED"
            self._client.set_terminated(run_id, ended)

    def _close_stopped(self, record: StopRecord) -> None:
        assert self._client
        run_id = self._runs.get(f"{record.model}/{record.config_id}")
        if run_id:  # none where no trial of it began since MLflow was emptied
            self._client.set_tag(run_id, "aufleet.reason", record.reason)

    def _close_configurations(self) -> None:
        assert self._client
        for name, run_id in self._runs.items():
            if name.count("/") == 1:
                self._client.set_terminated(run_id, "FINISHED")
        self._client = None

    def _try(self, write: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401
        self._writer.submit(self._write, write, *arguments)

    def _write(self, write: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401
        """Write, unless MLflow failed before; a failure ends the writing, not the search."""
        if self._client is None and write != self._open:
            return
        try:
            write(*arguments)
        except Exception as error:
            self._client = None
            _log.warning("MLflow is not written any more (%s)", str(error).partition("\n")[0])
