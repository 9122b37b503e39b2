"""Lanes: real UNIX sockets between two ends in one process."""

import asyncio
import stat
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from aufleet.errors import FrameError, NotReadyError
from aufleet.serving.lanes import Lanes, open_lane
from aufleet.serving.lanes.places import folder_of

TIMEOUT_S = 10


@dataclass
class Worker:
    """Answers, fails or waits as it is told."""

    name: str = "worker"
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    was_cancelled: bool = False

    async def double(self, frame, *, times=2):
        return frame * times

    async def whoami(self):
        return self.name

    async def cannot_travel(self):
        return lambda: "no function can"

    async def fail(self):
        raise FrameError("no picture")

    async def fail_strangely(self):
        raise OSError(lambda: "cannot travel")

    async def wait(self):
        self.waiting.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return "done"


class Handle:
    """Ray's, which says that it was used."""

    def __getattr__(self, name):
        return self

    def remote(self, *_arguments, **_named):
        answer = asyncio.get_running_loop().create_future()
        answer.set_result("through Ray")
        return answer


@pytest.fixture
def run(tmp_path):
    """Run a scenario that opens lanes; nothing may hang, and everything is closed."""

    def run(scenario):
        async def limited():
            async with asyncio.timeout(TIMEOUT_S), AsyncExitStack() as opened:
                await scenario(Ends(folder=tmp_path / "lane", opened=opened))

        asyncio.run(limited())

    return run


async def until(is_true):
    while not is_true():
        await asyncio.sleep(0.01)


@dataclass(kw_only=True)
class Ends:
    """Opens both ends of lanes in this process."""

    folder: Path
    opened: AsyncExitStack

    @property
    def place(self):
        return folder_of("model", folder=self.folder)

    async def lane_of(self, worker):
        """Return a replica's end; by its process's number all of this one would share a place."""
        lane = await open_lane(worker, application="model", folder=self.folder)
        assert lane
        lane._place = lane._place.rename(self.place / worker.name)
        self.opened.push_async_callback(lane.close, grace_s=1)
        return lane

    async def gateway(self, *, num_replicas=1, full=9):
        """Return a gateway's lanes once it has found every replica, and what it calls."""
        lanes = Lanes(self.folder)
        self.opened.callback(lanes.close)
        await until(lambda: len(lanes.at(self.place)) == len([*self.place.iterdir()]))
        return lanes, lanes.of("model", handle=Handle(), num_replicas=num_replicas, full=full)


def test_answers_and_errors_come_back_as_they_were(run):
    async def scenario(ends):
        await ends.lane_of(Worker())
        _lanes, replicas = await ends.gateway()
        frames = np.random.default_rng(0).normal(size=(8, 3, 200, 200))  # many pieces
        answers = await asyncio.gather(
            *(replicas.double.remote(frames, times=k) for k in range(4)),
            replicas.whoami.remote(),
        )
        for k in range(4):
            np.testing.assert_array_equal(answers[k], frames * k)
        assert answers[4] == "worker"
        with pytest.raises(FrameError, match="no picture"):
            await replicas.fail.remote()
        with pytest.raises(RuntimeError, match="OSError"):
            await replicas.fail_strangely.remote()
        with pytest.raises(Exception, match="pickle"):
            await replicas.cannot_travel.remote()
        assert await replicas.whoami.remote() == "worker"

    run(scenario)


def test_a_call_that_is_dropped_ends_in_the_replica(run):
    async def scenario(ends):
        worker = Worker()
        await ends.lane_of(worker)
        _lanes, replicas = await ends.gateway()
        answer = replicas.wait.remote()
        await worker.waiting.wait()
        answer.cancel()
        await until(lambda: worker.was_cancelled)
        assert await replicas.whoami.remote() == "worker"

    run(scenario)


def test_a_replica_that_stops_answers_what_is_open_and_takes_nothing_new(run):
    async def scenario(ends):
        workers = Worker(name="a"), Worker(name="b")
        opened = [await ends.lane_of(worker) for worker in workers]
        _lanes, replicas = await ends.gateway(num_replicas=2)
        answer = replicas.wait.remote()
        await until(lambda: any(each.waiting.is_set() for each in workers))
        asked = next(k for k in range(2) if workers[k].waiting.is_set())
        worker, other, lane = workers[asked], workers[1 - asked], opened[asked]
        closing = asyncio.create_task(lane.close(grace_s=TIMEOUT_S))
        await asyncio.sleep(0.05)
        assert {await replicas.whoami.remote() for _ in range(3)} == {other.name}
        assert not closing.done()
        worker.go_on.set()
        assert await answer == "done"
        await closing

    run(scenario)


def test_a_replica_that_dies_ends_its_calls_and_ray_is_asked(run):
    async def scenario(ends):
        worker = Worker()
        lane = await ends.lane_of(worker)
        _lanes, replicas = await ends.gateway()
        answer = replicas.wait.remote()
        await worker.waiting.wait()
        await lane.close(grace_s=0)
        with pytest.raises(NotReadyError, match="a replica ended while it worked"):
            await answer
        assert await replicas.whoami.remote() == "through Ray"

    run(scenario)


def test_a_replica_is_found_again_and_a_dead_ones_socket_removed(run):
    async def scenario(ends):
        lane = await ends.lane_of(Worker())
        lanes, replicas = await ends.gateway()
        await lane.close(grace_s=0)
        dead = ends.place / "dead"
        server = await asyncio.get_running_loop().create_unix_server(asyncio.Protocol, dead)
        server.close()
        await ends.lane_of(Worker(name="again"))
        await until(lambda: lanes.at(ends.place))
        assert await replicas.whoami.remote() == "again"
        await until(lambda: not dead.exists())

    run(scenario)


def test_the_least_busy_is_asked_and_other_nodes_help_where_all_are_full(run):
    async def scenario(ends):
        workers = Worker(name="a"), Worker(name="b")
        for worker in workers:
            await ends.lane_of(worker)
        _lanes, replicas = await ends.gateway(num_replicas=3, full=2)
        waiting = [replicas.wait.remote() for _ in range(4)]
        await asyncio.gather(*(worker.waiting.wait() for worker in workers))
        assert await replicas.wait.remote() == "through Ray"
        for worker in workers:
            worker.go_on.set()
        assert await asyncio.gather(*waiting) == ["done"] * 4

    run(scenario)


def test_the_lanes_are_this_users_alone(run):
    async def scenario(ends):
        await ends.lane_of(Worker())
        for place in (ends.folder, ends.place):
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
        ends.folder.chmod(0o755)
        assert await open_lane(Worker(), application="model", folder=ends.folder) is None
        lanes = Lanes(ends.folder)
        await lanes._looking
        assert not lanes.at(ends.place)

    run(scenario)
