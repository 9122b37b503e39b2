"""Several gateways behind one client."""

import asyncio

import grpc
import pytest

from aufleet.client import AsyncClient, Client, RetryPolicy
from aufleet.client.pool import FIRST_REST_S, Pool, split_targets
from aufleet.errors import ConfigError

FAST = RetryPolicy(total_s=5.0, first_pause_s=0.01, longest_pause_s=0.02)


class Away(grpc.RpcError):
    def code(self):
        return grpc.StatusCode.UNAVAILABLE

    def trailing_metadata(self):
        return ()


def test_gateways_take_turns_and_one_that_is_away_rests():
    now = [0.0]
    pool = Pool([("a:1", "a"), ("b:1", "b"), ("c:1", "c")], clock=lambda: now[0])
    assert [pool.next().stub for _ in range(4)] == ["a", "b", "c", "a"]
    b = pool.next()
    assert pool.pause_after(Away(), b, pause_s=0.5) == 0.0
    assert "b" not in {pool.next().stub for _ in range(6)}
    now[0] += FIRST_REST_S
    assert "b" in {pool.next().stub for _ in range(3)}


def test_where_all_are_away_the_policy_waits_and_the_longest_rested_is_asked():
    now = [0.0]
    pool = Pool([("a:1", "a"), ("b:1", "b")], clock=lambda: now[0])
    a, b = pool.next(), pool.next()
    assert pool.pause_after(Away(), a, pause_s=0.5) == 0.0
    now[0] += 0.1
    assert pool.pause_after(Away(), b, pause_s=0.5) == 0.5
    assert {pool.next().stub for _ in range(4)} == {"a"}


@pytest.mark.parametrize("target", ["", "a", "a:1,", "a:1,b", ":5", "a:x"])
def test_a_target_that_is_no_gateway_is_named(target):
    with pytest.raises(ConfigError, match="is no gateway"):
        split_targets(target)


def test_a_gateway_may_be_named_twice():
    assert split_targets("a:1, b:2,a:1") == ["a:1", "b:2"]


def test_calls_are_shared_and_none_is_lost_when_a_gateway_goes(face_server, other_face_server):
    target = f"{face_server.target},{other_face_server.target}"
    with Client(target, token="t", root_certificates=face_server.ca_file, retry=FAST) as client:
        for _ in range(6):
            assert client.detect_action_units(b"x").status == "OK"
        assert (len(face_server.requests), len(other_face_server.requests)) == (3, 3)
        face_server.stop()
        for _ in range(6):
            assert client.detect_action_units(b"x").status == "OK"
        assert len(other_face_server.requests) == 9


def test_the_asynchronous_client_does_the_same(face_server, other_face_server):
    async def run():
        target = f"{face_server.target},{other_face_server.target}"
        async with AsyncClient(
            target, token="t", root_certificates=face_server.ca_file, retry=FAST
        ) as client:
            other_face_server.stop()
            answers = await asyncio.gather(*(client.detect_action_units(b"x") for _ in range(8)))
            return {answer.status for answer in answers}

    assert asyncio.run(run()) == {"OK"}
    assert len(face_server.requests) == 8


def test_attention_and_ungradable_answers_are_asked_for(face_server):
    with Client(face_server.target, token="t", root_certificates=face_server.ca_file) as client:
        client.detect_action_units(b"x", include_attention=True, include_ungradable=True)
        client.grade_palsy(b"x")
    asked, plain = face_server.requests
    assert (asked.include_attention, asked.frames[0].include_ungradable) == (True, True)
    assert (plain.include_attention, plain.frames[0].include_ungradable) == (False, False)
