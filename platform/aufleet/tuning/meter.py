"""What a search has used, and whether its budget is spent."""

import time
from collections.abc import Callable

from aufleet.tuning.limits import Budget

HOUR_S = 3600.0


class Meter:
    """Counts hours and GPU hours; what earlier drivers used comes from the lease."""

    def __init__(
        self,
        budget: Budget,
        *,
        usage: dict[str, float] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Go on counting.

        Args:
            budget: The limits.
            usage: Where the counts are kept: the lease's own, so that it saves them.
            now: The clock.
        """
        self._budget, self._now = budget, now
        self._usage = {} if usage is None else usage
        self._started = now()
        self._earlier_s = self._usage.get("seconds", 0.0)
        self._gpu_s = self._usage.get("gpu_seconds", 0.0)
        self._cpu_s = self._usage.get("cpu_seconds", 0.0)
        self._running: dict[str, tuple[float, float, float]] = {}

    def start(self, name: str, *, cpus: float, gpus: float) -> None:
        """Count a trial from now on."""
        self._running[name] = (self._now(), cpus, gpus)

    def end(self, name: str) -> float:
        """Count a trial no longer; returns the seconds that it held its resources."""
        if name not in self._running:
            return 0.0
        began, cpus, gpus = self._running.pop(name)
        held_s = self._now() - began
        self._gpu_s += gpus * held_s
        self._cpu_s += cpus * held_s
        return held_s

    def update(self) -> None:
        """Bring what the lease saves up to date."""
        now = self._now()
        running = list(self._running.values())
        self._usage["seconds"] = self._earlier_s + now - self._started
        self._usage["gpu_seconds"] = self._gpu_s + sum((now - at) * g for at, _, g in running)
        self._usage["cpu_seconds"] = self._cpu_s + sum((now - at) * c for at, c, _ in running)

    @property
    def gpu_hours(self) -> float:
        """GPU hours so far, of all drivers."""
        self.update()
        return self._usage["gpu_seconds"] / HOUR_S

    def is_time_up(self) -> str:
        """Return which limit makes running trials pause, or nothing."""
        self.update()
        for key, limit, used in (
            ("hours", self._budget.hours, self._usage["seconds"]),
            ("gpu_hours", self._budget.gpu_hours, self._usage["gpu_seconds"]),
        ):
            if limit is not None and used >= limit * HOUR_S:
                return f"the budget of {limit:g} {key.replace('_', ' ').replace('gpu', 'GPU')}"
        return ""

    def is_full(self, *, num_trials: int) -> str:
        """Return which limit forbids to begin a trial beside so many, or nothing."""
        limit = self._budget.trials
        if limit is not None and num_trials >= limit:
            return f"the budget of {limit} trials"
        return self.is_time_up()
