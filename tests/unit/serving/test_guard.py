"""What the guard refuses, counts and logs, over a real gRPC server."""

import asyncio

import grpc
import pytest

from aufleet.api.v1 import face_analysis_service_pb2 as messages
from aufleet.api.v1 import face_pb2

from .conftest import PlainReplicas, encode

DETECT = "/aufleet.api.v1.FaceAnalysisService/DetectActionUnits"


def request():
    return messages.DetectActionUnitsRequest(frames=[face_pb2.Frame(encoded=encode())])


async def ask(edge, metadata=None):
    """Return how a call ends: its code and its error, if any."""
    call = edge.faces.DetectActionUnits(
        request(), metadata=edge.metadata if metadata is None else metadata, timeout=10
    )
    try:
        await call
    except grpc.RpcError as error:
        return error.code().name, error
    return "OK", None


def counted(edge, code, model=""):
    labels = {"method": DETECT, "code": code, "model": model}
    return edge.metrics.registry.get_sample_value("aufleet_requests_total", labels)


@pytest.fixture
def run(open_edge):
    """Return what runs a scenario with an open edge."""

    def run_scenario(scenario, replicas=None):
        async def inside():
            async with open_edge(replicas) as edge:
                return await scenario(edge)

        return asyncio.run(inside())

    return run_scenario


def test_answers_and_refusals_are_counted_and_logged(run):
    async def scenario(edge):
        assert (await ask(edge))[0] == "OK"
        assert (await ask(edge, metadata=()))[0] == "UNAUTHENTICATED"
        assert counted(edge, "OK", model="faces:1") == 1
        assert counted(edge, "UNAUTHENTICATED") == 1
        stages = {"stage": "network"}
        registry = edge.metrics.registry
        assert registry.get_sample_value("aufleet_stage_seconds_count", stages) == 1
        flight = {"method": DETECT}
        assert registry.get_sample_value("aufleet_requests_in_flight", flight) == 0
        return [line["code"] for line in edge.log]

    assert run(scenario) == ["OK", "UNAUTHENTICATED"]


def test_oversized_metadata_is_refused_with_words(run):
    async def scenario(edge):
        code, error = await ask(edge, metadata=(*edge.metadata, ("x-filler", "x" * 9000)))
        assert error.details().startswith("metadata: ")
        assert [line["code"] for line in edge.log] == [code]
        return code

    assert run(scenario) == "INVALID_ARGUMENT"


def test_a_tokens_limit_sends_away_with_a_hint_when_to_come_again(run):
    async def scenario(edge):
        token = edge.tokens.create("slow", scopes=["analyze"], expires_days=1, rate_per_s=1)
        metadata = (("authorization", f"Bearer {token}"),)
        assert (await ask(edge, metadata))[0] == "OK"
        code, error = await ask(edge, metadata)
        assert "retry-delay-ms" in {key for key, _ in error.trailing_metadata()}
        # Others are not concerned.
        assert (await ask(edge))[0] == "OK"
        return code

    assert run(scenario) == "RESOURCE_EXHAUSTED"


def test_calls_that_are_left_when_the_gateway_goes_are_told_to_come_again(run):
    async def scenario(edge):
        calls = [asyncio.create_task(ask(edge)) for _ in range(3)]
        while edge.metrics.registry.get_sample_value(
            "aufleet_requests_in_flight", {"method": DETECT}
        ) != len(calls):
            await asyncio.sleep(0.01)
        edge.guard.end_calls()
        return {code for code, _ in await asyncio.gather(*calls)}

    assert run(scenario, PlainReplicas(delay_s=30)) == {"UNAVAILABLE"}
