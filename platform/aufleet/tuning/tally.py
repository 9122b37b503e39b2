"""What is known of a search while it runs, counted: the lines that its live view shows."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from aufleet.tuning.meter import HOUR_S
from aufleet.tuning.records import CONTROL, StopRecord, TrialRecord

_PASSING = ("crashed", "lost", "paused")
"""Ends of an attempt after which the trial comes again."""


class Tally:
    """Counts trials, hours and the best so far."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Start with nothing."""
        self._now, self._started = now, now()
        self.num_trials = self.num_before = self.num_ended = 0
        self.num_stopped = self.num_skipped = self.num_failed = 0
        self._num_folds = 1
        self._running: dict[str, tuple[float, float]] = {}
        self._over: Counter[str] = Counter()
        self._scores: dict[str, list[float]] = defaultdict(list)
        self._best: str | None = None
        self._gpu_s = 0.0

    def start(self, num_trials: int, *, ended: Sequence[TrialRecord], num_folds: int = 1) -> None:
        """Begin with what ended in earlier runs."""
        self._started, self._num_folds, self.num_trials = self._now(), num_folds, num_trials
        last = {one.trial_id: one for one in ended}
        over = [one for one in last.values() if one.status not in _PASSING]
        self.num_before = len(over)
        self._gpu_s = sum(one.gpus * one.held_s for one in ended)
        for one in over:
            self._note(one)

    def begin(self, trial_id: str, *, gpus: float = 0.0) -> None:
        """Count a trial that runs."""
        self._running[trial_id] = (self._now(), gpus)

    def end(self, record: TrialRecord) -> None:
        """Count how an attempt ended."""
        self._running.pop(record.trial_id, None)
        self._gpu_s += record.gpus * record.held_s
        if record.status not in _PASSING:
            self.num_ended += 1
            self._note(record)

    def stop(self, record: StopRecord) -> None:
        """Count the folds of a configuration that will never start."""
        name = f"{record.model}/{record.config_id}/"
        running = sum(one.startswith(name) for one in self._running)
        self.num_skipped += max(0, self._num_folds - self._over[record.config_id] - running)
        self.num_stopped += 1

    @property
    def done(self) -> int:
        """Trials that are over, in this run or an earlier one, or will never start."""
        return min(self.num_trials, self.num_before + self.num_ended + self.num_skipped)

    @property
    def best(self) -> str:
        """The best mean so far of the folds that are known."""
        if self._best is None:
            return "none yet"
        name, scores = self._best, self._scores[self._best]
        plural = "fold" if len(scores) == 1 else "folds"
        return f"F1 {sum(scores) / len(scores):.3f} {name} ({len(scores)} {plural})"

    @property
    def left(self) -> str:
        """The time left, if the other trials go as those of this run went."""
        gone = self.num_ended + self.num_skipped
        if not gone:
            return "?"
        per_trial = (self._now() - self._started) / gone
        seconds = round(per_trial * max(0, self.num_trials - self.done))
        hours, minutes = seconds // 3600, seconds // 60 % 60
        return (
            f"{hours}:{minutes:02d}:{seconds % 60:02d}"
            if hours
            else f"{minutes}:{seconds % 60:02d}"
        )

    @property
    def gpu_hours(self) -> float:
        """GPU hours of the trials that ended and those that run."""
        now = self._now()
        running = sum(gpus * (now - began) for began, gpus in self._running.values())
        return (self._gpu_s + running) / HOUR_S

    @property
    def counts(self) -> str:
        """How many run, wait, were stopped and failed, and what it cost."""
        queued = max(0, self.num_trials - self.done - len(self._running))
        parts = [f"{len(self._running)} running", f"{queued} queued"]
        if self.num_stopped:
            parts.append(f"{self.num_stopped} configurations stopped")
        if self.num_failed:
            parts.append(f"{self.num_failed} failed")
        if self.gpu_hours:
            parts.append(f"{self.gpu_hours:.2f} GPU hours")
        return ", ".join(parts)

    @property
    def line(self) -> str:
        """Everything in one line."""
        return f"{self.done}/{self.num_trials} trials, best {self.best}, left {self.left}"

    def _note(self, record: TrialRecord) -> None:
        self._over[record.config_id] += 1
        self.num_failed += record.status == "failed"
        if record.score is not None and record.row != CONTROL:
            name = record.row or f"{record.model} {record.config_id}"
            self._scores[name].append(record.score)
            # One lucky fold does not outshine configurations that have more of them.
            if self._best is None or self._rank(name) > self._rank(self._best):
                self._best = name

    def _rank(self, name: str) -> tuple[int, float]:
        scores = self._scores[name]
        return len(scores), sum(scores) / len(scores)
