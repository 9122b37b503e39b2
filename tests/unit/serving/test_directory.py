import asyncio

import pytest
from grpc_health.v1 import health_pb2

from aufleet.errors import NotReadyError
from aufleet.serving.directory import Directory, HealthServicer
from aufleet.serving.routing import Route

from .conftest import Method, PlainReplicas

STATUS = health_pb2.HealthCheckResponse.ServingStatus


class SlowReplicas(PlainReplicas):
    """Answers `describe` only from the third question on."""

    def __init__(self):
        super().__init__()
        self.questions = 0
        self.describe = Method(self._late)

    async def _late(self):
        self.questions += 1
        if self.questions < 3:
            raise NotReadyError("starting")
        return await self._describe()


def route(name, version="1", *aliases):
    return Route(
        name=name, version=version, aliases=aliases, task="au", application=f"{name}-{version}"
    )


async def status_of(health, service):
    request = health_pb2.HealthCheckRequest(service=service)
    return STATUS.Name((await health.Check(request, None)).status)


def test_a_model_serves_once_its_analyzer_has_told_of_itself():
    async def scenario():
        health, replicas = HealthServicer(), SlowReplicas()
        directory = Directory(lambda _name: replicas, health=health, retry_s=0.01)
        await directory.replace([route("faces")])
        before = await status_of(health, "faces"), directory.table.known_facts(route("faces"))
        await directory.await_ready()
        return before, await status_of(health, "faces"), await status_of(health, "faces:1")

    before, model, version = asyncio.run(scenario())
    assert before == ("NOT_SERVING", None)
    assert (model, version) == ("SERVING", "SERVING")


def test_a_new_version_does_not_unsettle_the_old_one():
    async def scenario():
        health, slow = HealthServicer(), SlowReplicas()
        replicas = {"faces-1": PlainReplicas(), "faces-2": slow}
        directory = Directory(replicas.__getitem__, health=health, retry_s=0.01)
        await directory.replace([route("faces")])
        await directory.await_ready()
        await directory.replace([route("faces"), route("faces", "2")])
        during = [await status_of(health, name) for name in ("faces", "faces:1", "faces:2")]
        await directory.await_ready()
        await directory.replace([route("faces", "2")])
        after = [await status_of(health, name) for name in ("faces", "faces:1", "faces:2")]
        return during, after

    during, after = asyncio.run(scenario())
    assert during == ["SERVING", "SERVING", "NOT_SERVING"]
    assert after == ["SERVING", "SERVICE_UNKNOWN", "SERVING"]


def test_replacing_the_table_ends_the_questions_of_the_old_one():
    async def scenario():
        slow = SlowReplicas()
        directory = Directory(lambda _name: slow, health=HealthServicer(), retry_s=10)
        await directory.replace([route("faces")])
        await asyncio.sleep(0.01)
        await directory.replace([])
        await directory.await_ready()
        with pytest.raises(NotReadyError, match="faces:1 is no longer served"):
            directory.analyzer_of(route("faces"))

    asyncio.run(scenario())


def test_an_alias_waits_until_its_new_version_has_told_of_itself():
    async def scenario():
        replicas = {"faces-1": PlainReplicas(), "faces-2": SlowReplicas()}
        directory = Directory(replicas.__getitem__, health=HealthServicer(), retry_s=0.01)

        def champion():
            return directory.table.find(model="faces", version="champion").version

        await directory.replace([route("faces", "1", "champion")])
        await directory.await_ready()
        await directory.replace([route("faces"), route("faces", "2", "champion")])
        during = champion()
        await directory.await_ready()
        return during, champion()

    assert asyncio.run(scenario()) == ("1", "2")
