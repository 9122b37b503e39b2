import asyncio
import time
from urllib.request import urlopen

import pytest

from aufleet.serving import metrics as module
from aufleet.serving.call import Call
from aufleet.serving.metrics import Metrics, MetricsPort
from aufleet.serving.routing import Route

METHOD = "/package.Service/Method"


def call(method=METHOD, model=""):
    now = time.monotonic()
    return Call(
        method=method, request_id="1", caller="clinic", began_s=now, deadline_s=now, model=model
    )


@pytest.fixture
def metrics():
    return Metrics(methods=[METHOD])


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def test_calls_are_counted_by_method_code_and_model(metrics):
    one = call()
    metrics.began(one)
    assert value(metrics, "aufleet_requests_in_flight", method=METHOD) == 1
    one.model = "faces:1"
    metrics.ended(one, code="OK")
    assert value(metrics, "aufleet_requests_in_flight", method=METHOD) == 0
    labels = {"method": METHOD, "code": "OK", "model": "faces:1"}
    assert value(metrics, "aufleet_requests_total", **labels) == 1
    assert value(metrics, "aufleet_request_seconds_count", method=METHOD) == 1


def test_a_stranger_cannot_invent_methods(metrics):
    for number in range(3):
        metrics.refused(call(f"/invented/{number}"), code="UNAUTHENTICATED")
    labels = {"method": "other", "code": "UNAUTHENTICATED", "model": ""}
    assert value(metrics, "aufleet_requests_total", **labels) == 3


def test_the_table_is_shown_as_it_is_now(metrics):
    def route(version, *aliases):
        return Route(name="faces", version=version, aliases=aliases, task="au", application="x")

    metrics.routed({route("1", "champion"): True})
    metrics.routed({route("1"): True, route("2", "champion"): False})
    assert value(metrics, "aufleet_model_ready", model="faces", version="1") == 1
    assert value(metrics, "aufleet_model_ready", model="faces", version="2") == 0
    at = {"model": "faces", "alias": "champion"}
    assert value(metrics, "aufleet_alias_info", **at, version="2") == 1
    assert value(metrics, "aufleet_alias_info", **at, version="1") is None


def read(port):
    with urlopen(f"http://127.0.0.1:{port}/anything", timeout=5) as answer:
        return answer.read()


def test_each_gateway_shows_its_metrics_on_a_port_of_its_own(metrics, monkeypatch):
    monkeypatch.setattr(module, "AGAIN_S", 0.01)

    async def scenario():
        first = MetricsPort(metrics, host="127.0.0.1", ports=[0])
        first.open()
        taken = first.port
        follower = MetricsPort(Metrics(methods=[]), host="127.0.0.1", ports=[taken])
        follower.open()
        assert follower.port is None
        assert b"aufleet_requests_total" in await asyncio.to_thread(read, taken)
        await first.close()
        while follower.port is None:
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(read, follower.port)
        await follower.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_without_a_port_none_is_opened(metrics):
    async def scenario():
        port = MetricsPort(metrics, host="127.0.0.1", ports=[])
        port.open()
        await port.close()
        return port.port

    assert asyncio.run(scenario()) is None
