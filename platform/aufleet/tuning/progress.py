"""The live view of a search: a bar per running trial, what is done, the best so far, time left."""

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from aufleet.training.config import TrialConfig
from aufleet.training.results import EpochReport
from aufleet.tuning.events import SearchListener
from aufleet.tuning.grid import id_of
from aufleet.tuning.records import StopRecord, TestRecord, TrialRecord
from aufleet.tuning.tally import Tally


def show_progress(
    console: Console,
    *,
    quiet: bool = False,
    rows: Mapping[str, str] | None = None,
    gpus_per_rank: float = 0.0,
) -> SearchListener:
    """Return a live view where the console is a terminal, else one that writes plain lines.

    Args:
        console: Where it is shown.
        quiet: Show nothing.
        rows: Row of a table -> config_id; trials are shown under these names.
        gpus_per_rank: What a rank of a trial holds.
    """
    names = _Names(rows or {})
    if console.is_terminal and not quiet:
        return LiveProgress(console, names=names, gpus_per_rank=gpus_per_rank)
    return LineProgress((lambda line: None) if quiet else console.print, names=names)


class _Names:
    """What trials are called."""

    def __init__(self, rows: Mapping[str, str]) -> None:
        self._rows = {config_id: row for row, config_id in rows.items()}

    def of_trial(self, trial: TrialConfig) -> str:
        row = self._rows.get(trial.config_id)
        return f"{row} fold {trial.fold}" if row else id_of(trial)


class LineProgress:
    """Writes a line when a trial ends, for logs and pipes."""

    def __init__(self, write: Callable[[str], None], *, names: _Names | None = None) -> None:
        """Write through a function."""
        self._write, self._tally = write, Tally()
        self._names = names or _Names({})

    def search_started(
        self, *, num_trials: int, ended: Sequence[TrialRecord], num_folds: int = 1
    ) -> None:
        """Say how much there is to do."""
        self._tally.start(num_trials, ended=ended, num_folds=num_folds)
        before = f", {self._tally.num_before} ended before" if self._tally.num_before else ""
        self._write(f"{num_trials} trials{before}")

    def trial_started(self, trial: TrialConfig) -> None:
        """Say which trial runs."""
        self._tally.begin(id_of(trial))
        self._write(f"{self._names.of_trial(trial)} started")

    def epoch_ended(self, trial: TrialConfig, report: EpochReport) -> None:
        """Say nothing: a log needs no line per epoch."""

    def trial_ended(self, trial: TrialConfig, record: TrialRecord) -> None:
        """Say how a trial ended."""
        self._tally.end(record)
        name = self._names.of_trial(trial)
        self._write(f"{name} {_ending(record)}; {self._tally.line}")

    def configuration_stopped(self, record: StopRecord) -> None:
        """Say why a configuration was given up."""
        self._tally.stop(record)
        self._write(f"{record.model} {record.config_id} {record.reason}")

    def test_started(self, *, num_folds: int) -> None:
        """Say that the winner is scored."""
        if num_folds:
            self._write(f"scoring winners on {num_folds} test parts")

    def test_ended(self, record: TestRecord) -> None:
        """Say how the winner did."""
        self._write(f"{record.model} on test part {record.fold}: F1 {record.score:.3f}")

    def search_ended(self) -> None:
        """Say nothing: the leaderboard follows."""


class LiveProgress:
    """Bars that move, for terminals."""

    def __init__(
        self, console: Console, *, names: _Names | None = None, gpus_per_rank: float = 0.0
    ) -> None:
        """Draw on a console.

        Args:
            console: The terminal.
            names: What trials are called.
            gpus_per_rank: What a rank of a trial holds.
        """
        self._gpus_per_rank = gpus_per_rank
        self._names = names or _Names({})
        self._tally = Tally()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._running: dict[str, TaskID] = {}
        self._total: TaskID | None = None
        self._tests: TaskID | None = None

    def search_started(
        self, *, num_trials: int, ended: Sequence[TrialRecord], num_folds: int = 1
    ) -> None:
        """Draw the first bar."""
        self._tally.start(num_trials, ended=ended, num_folds=num_folds)
        self._total = self._bars.add_task("[bold]trials", total=num_trials, note="")
        self._draw_total()
        self._bars.start()

    def trial_started(self, trial: TrialConfig) -> None:
        """Add a bar."""
        self._tally.begin(id_of(trial), gpus=trial.ranks * self._gpus_per_rank)
        name = self._names.of_trial(trial)
        self._running[id_of(trial)] = self._bars.add_task(name, total=trial.epochs, note="starting")
        self._draw_total()

    def epoch_ended(self, trial: TrialConfig, report: EpochReport) -> None:
        """Move a bar."""
        if (bar := self._running.get(id_of(trial))) is not None:
            note = f"epochs, F1 {report.score:.3f}, {report.frames_per_s:.0f} frames/s"
            self._bars.update(bar, completed=report.epoch, note=note)

    def trial_ended(self, trial: TrialConfig, record: TrialRecord) -> None:
        """Replace a bar by a line."""
        if (bar := self._running.pop(id_of(trial), None)) is not None:
            self._bars.remove_task(bar)
        self._tally.end(record)
        self._bars.console.print(f"  {self._names.of_trial(trial)} {_ending(record)}")
        self._draw_total()

    def configuration_stopped(self, record: StopRecord) -> None:
        """Write why a configuration was given up."""
        self._tally.stop(record)
        self._bars.console.print(f"  {record.model} {record.config_id} {record.reason}")
        self._draw_total()

    def test_started(self, *, num_folds: int) -> None:
        """Draw the last bar."""
        if num_folds:
            self._tests = self._bars.add_task("winner on test parts", total=num_folds, note="")

    def test_ended(self, record: TestRecord) -> None:
        """Move the last bar."""
        if self._tests is not None:
            self._bars.advance(self._tests)

    def search_ended(self) -> None:
        """Remove the bars."""
        self._bars.stop()

    def _draw_total(self) -> None:
        if self._total is not None:
            best = f"best {self._tally.best}, left {self._tally.left}"
            note = f"{best}\n[dim]{self._tally.counts}[/]"
            self._bars.update(self._total, completed=self._tally.done, note=note)


def _ending(record: TrialRecord) -> str:
    if record.score is not None:
        return f"F1 {record.score:.3f} at epoch {record.best_epoch} in {record.seconds:.0f} s"
    if record.status == "stopped":
        return f"stopped after epoch {record.curve[-1].epoch if record.curve else 0}"
    if record.status == "paused":
        return record.reason
    again = "; it will be tried again" if record.status in ("crashed", "lost") else ""
    return f"{record.status}: {record.reason}{again}"
