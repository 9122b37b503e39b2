"""The other ranks of a trial: actors in the placement group of the trial's own actor."""

from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util import get_current_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from aufleet.errors import AufleetError, TrainingError
from aufleet.storage import Store
from aufleet.training.config import TrialConfig
from aufleet.training.ranks import Ranks, join_ranks, listen


@ray.remote(max_restarts=0)
class RankActor:
    """One rank; kept over trials, as its process group is."""

    def run(
        self,
        settings: dict[str, Any],
        *,
        rank: int,
        address: str,
        store: Store,
        run_trial: Callable[..., Any],
    ) -> None:
        """Join the process group (once), and train."""
        trial = TrialConfig.from_settings(settings)
        ranks = join_ranks(rank=rank, size=trial.ranks, address=address)
        run_trial(trial, store=store, report=_never_called, ranks=ranks)


class RankActors:
    """Ranks 1 to size - 1, as rank 0 sees them."""

    def __init__(self, *, size: int) -> None:
        """Start the actors, one in each further bundle of this trial's placement group."""
        group = get_current_placement_group()
        if group is None or group.bundle_count < size:
            raise TrainingError(f"{size} ranks need a placement group of {size} bundles")
        self._size = size
        self._address = listen(ray.util.get_node_ip_address())
        self._actors = [_start(group, index=rank) for rank in range(1, size)]
        self._running: list[ray.ObjectRef] = []

    def start(self, trial: TrialConfig, *, store: Store, run_trial: Callable[..., Any]) -> Ranks:
        """Let every other rank run a trial, and return this process's own place among them."""
        self._running = [
            actor.run.remote(
                trial.settings, rank=rank, address=self._address, store=store, run_trial=run_trial
            )
            for rank, actor in enumerate(self._actors, start=1)
        ]
        return join_ranks(rank=0, size=self._size, address=self._address)

    def check(self) -> None:
        """Raise what a rank raised; its siblings would wait for it until their time-out."""
        done, _ = ray.wait(self._running, num_returns=len(self._running), timeout=0)
        ray.get(done)

    def raise_reason(self, *, timeout_s: float = 5.0) -> None:
        """Raise the error of our own tree that a rank ended with, if one did within a time."""
        done, _ = ray.wait(self._running, num_returns=len(self._running), timeout=timeout_s)
        for one in done:
            try:
                ray.get(one)
            except RayTaskError as error:
                if isinstance(error.cause, AufleetError):
                    raise error.cause from None
            except RayError:
                continue

    def wait(self) -> None:
        """Wait until every rank has ended the trial."""
        ray.get(self._running)

    def stop(self) -> None:
        """End the actors."""
        for actor in self._actors:
            ray.kill(actor)


def _start(group: PlacementGroup, *, index: int) -> Any:  # noqa: ANN401 - Ray's handle
    bundle = group.bundle_specs[index]
    strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)
    return RankActor.options(
        num_cpus=bundle.get("CPU", 0), num_gpus=bundle.get("GPU", 0), scheduling_strategy=strategy
    ).remote()


def _never_called(report: object) -> bool:
    raise AssertionError("only rank 0 reports")
