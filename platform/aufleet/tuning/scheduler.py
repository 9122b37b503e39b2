"""Tune's scheduler, as thin as it can be: stop a fold whose configuration was given up.

A fold is stopped at its own next report, and its first report comes before it trains: one that was
condemned while it waited for resources never starts. Stopping siblings through Tune's controller
hangs: it neither unstages a pending trial nor lowers its count of cached actors.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import cloudpickle
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from aufleet.errors import AufleetError, StoreUnavailableError
from aufleet.tuning.runs import Failure
from aufleet.tuning.searcher import FoldSearcher
from aufleet.tuning.trainable import BEGUN, REPORT, REPORTS

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

FOLLOW_EVERY_S = 10.0
_LOST = re.compile("node has died|node (was )?(dead|terminated|preempted|removed)", re.IGNORECASE)
"""How Ray says that a whole node is gone, not only a process on it."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class FoldScheduler(FIFOScheduler):
    """First in, first out; the searcher decides what comes in."""

    def __init__(
        self, searcher: FoldSearcher, *, num_pending: Callable[[], int] = lambda: 1
    ) -> None:
        """Decide as the search does.

        Args:
            searcher: Knows which configurations live.
            num_pending: How many trials may wait for resources; asked now and then.
        """
        super().__init__()
        self._searcher, self._num_pending = searcher, num_pending
        self._asked = time.monotonic()

    def on_trial_result(
        self, tune_controller: "TuneController", trial: Trial, result: dict[str, Any]
    ) -> str:
        """Return STOP for a fold of a configuration that was given up."""
        self._follow_cluster(tune_controller)
        if BEGUN in result:
            stops = self._searcher.begin(trial.trial_id)
        elif REPORT in result:
            stops = self._searcher.report(trial.trial_id, REPORTS.validate_json(result[REPORT]))
        else:
            stops = False
        return TrialScheduler.STOP if stops else TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: "TuneController", trial: Trial) -> None:
        """Tell the searcher the reason, which Tune keeps to itself; called just before it."""
        self._searcher.note_error(trial.trial_id, explain(_error_of(trial)))

    def _follow_cluster(self, tune_controller: "TuneController") -> None:
        """Let as many trials wait as the cluster can hold: it may have grown."""
        if time.monotonic() - self._asked > FOLLOW_EVERY_S:
            self._asked = time.monotonic()
            tune_controller.update_max_pending_trials(self._num_pending())


def _error_of(trial: Trial) -> Exception | None:
    """Return what ended a trial; Tune keeps it in a file that it uploads only later."""
    path = trial.pickled_error_file
    if path is None or not Path(path).exists():
        return None
    return cloudpickle.loads(Path(path).read_bytes())


def explain(error: Exception | None) -> Failure:
    """Return why a trial ended in an error.

    Errors of our own tree are decided by settings and data; a dead process, a store that was away
    or anything else may go well the next time.
    """
    cause = error.cause if isinstance(error, RayTaskError) else error
    if cause is None:
        return Failure(reason="the process ended without a word")
    if isinstance(cause, AufleetError):
        is_final = not isinstance(cause, StoreUnavailableError)
        return Failure(reason=str(cause), is_final=is_final)
    lines = [line for line in _COLOURS.sub("", str(cause)).splitlines() if line.strip()]
    # A connection that breaks is the first that is heard of a node's death.
    is_lost = isinstance(cause, ActorUnavailableError) or (
        isinstance(cause, RayError) and any(_LOST.search(line) for line in lines)
    )
    # What an actor raised while it was made is told by the last line, a death by the first.
    told = lines[-1 if isinstance(cause, ActorDiedError) and "creation" in lines[0] else 0 :]
    reason = f"{type(cause).__name__}: {told[0].strip() if told else 'no reason given'}"
    return Failure(
        reason=f"{reason} Its node was lost, or cut off." if is_lost else reason, is_lost=is_lost
    )
