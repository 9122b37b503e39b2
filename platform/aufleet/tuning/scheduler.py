"""Tune's scheduler, as thin as it can be: stop a fold whose configuration was given up.

A fold is stopped at its own next report. Stopping siblings through Tune's controller hangs: it
neither unstages a pending trial nor lowers its count of cached actors.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import cloudpickle
from ray.exceptions import ActorDiedError, RayTaskError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from aufleet.errors import AufleetError
from aufleet.tuning.searcher import FoldSearcher

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class FoldScheduler(FIFOScheduler):
    """First in, first out; the searcher decides what comes in."""

    def __init__(self, searcher: FoldSearcher) -> None:
        """Ask this searcher which configurations live."""
        super().__init__()
        self._searcher = searcher

    def on_trial_result(
        self, tune_controller: "TuneController", trial: Trial, result: dict[str, Any]
    ) -> str:
        """Return STOP for a fold of a configuration that was given up."""
        if self._searcher.is_condemned(trial.trial_id):
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: "TuneController", trial: Trial) -> None:
        """Tell the searcher the reason, which Tune keeps to itself; called just before it."""
        reason, final = explain(_error_of(trial))
        self._searcher.note_error(trial.trial_id, reason=reason, final=final)


def _error_of(trial: Trial) -> Exception | None:
    """Return what ended a trial; Tune keeps it in a file that it uploads only later."""
    path = trial.pickled_error_file
    if path is None or not Path(path).exists():
        return None
    return cloudpickle.loads(Path(path).read_bytes())


def explain(error: Exception | None) -> tuple[str, bool]:
    """Return one sentence, and whether another attempt would end the same way.

    Errors of our own tree are decided by settings and data; a dead process or anything else may
    go well the next time.
    """
    cause = error.cause if isinstance(error, RayTaskError) else error
    if cause is None:
        return "the process ended without a word", False
    if isinstance(cause, AufleetError):
        return str(cause), True
    lines = [line for line in _COLOURS.sub("", str(cause)).splitlines() if line.strip()]
    # What an actor raised while it was made is told by the last line, a death by the first.
    told = lines[-1 if isinstance(cause, ActorDiedError) and "creation" in lines[0] else 0 :]
    return f"{type(cause).__name__}: {told[0].strip() if told else 'no reason given'}", False
