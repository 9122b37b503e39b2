import asyncio

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from aufleet.errors import AufleetError, FrameError, NotReadyError, OverloadedError
from aufleet.serving import replicas
from aufleet.serving.replicas import answer_of


def raised(error):
    async def scenario():
        async def fail():
            raise error

        return await answer_of(asyncio.ensure_future(fail()))

    with pytest.raises(AufleetError) as info:
        asyncio.run(scenario())
    return info.value


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BackPressureError(9, 8), OverloadedError),
        (ActorDiedError(), NotReadyError),
        (DeploymentUnavailableError("aligner"), NotReadyError),
        (FrameError("no picture"), FrameError),
    ],
)
def test_rays_errors_become_ours(error, kind):
    assert type(raised(error)) is kind


def test_an_error_of_a_replica_is_what_it_was_and_keeps_where_it_was():
    wrapped = RayTaskError("locate", "the remote traceback", FrameError("no picture"))
    error = raised(wrapped.as_instanceof_cause())
    assert type(error) is FrameError
    assert "the remote traceback" in str(error.__cause__)


def test_a_call_that_no_replica_takes_is_given_up(monkeypatch):
    monkeypatch.setattr(replicas, "ASSIGNED_S", 0.01)

    class Unassigned:
        """What Ray's router holds while every replica is away."""

        def __init__(self):
            self._replica_result_future = asyncio.get_running_loop().create_future()

        def __await__(self):
            return self._replica_result_future.__await__()

        def cancel(self):
            self._replica_result_future.cancel()

    async def scenario():
        await answer_of(Unassigned())

    with pytest.raises(NotReadyError, match="no replica can answer just now"):
        asyncio.run(scenario())


def test_a_call_that_lies_at_a_replica_may_take_its_time(monkeypatch):
    monkeypatch.setattr(replicas, "ASSIGNED_S", 0.01)

    async def scenario():
        return await answer_of(asyncio.ensure_future(asyncio.sleep(0.05, "slow")))

    assert asyncio.run(scenario()) == "slow"
