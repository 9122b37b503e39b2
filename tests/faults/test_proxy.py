"""The proxy itself: what it promises to the tests that use it."""

import hashlib
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from faults.proxy import MODES, FaultProxy

pytestmark = pytest.mark.s3

BODY = hashlib.shake_256(b"body").digest(300_000)


@pytest.fixture
def client(s3_proxy: FaultProxy):
    """A client that tries once."""
    one = client_of(patience_s=30)
    one.put_object(Bucket="aufleet", Key="proxied", Body=BODY)
    yield one
    one.close()


@pytest.fixture
def impatient(client):
    """A client that gives a stalled request up soon; for what shall fail."""
    one = client_of(patience_s=1)
    yield one
    one.close()


def client_of(*, patience_s: int):
    patience = Config(
        connect_timeout=patience_s, read_timeout=patience_s, retries={"total_max_attempts": 1}
    )
    return boto3.client("s3", config=patience)


def read(client) -> bytes:
    return client.get_object(Bucket="aufleet", Key="proxied")["Body"].read()


def test_without_faults_it_changes_nothing(client, s3_proxy) -> None:
    assert read(client) == BODY
    listed = client.list_objects_v2(Bucket="aufleet", Prefix="proxied")["Contents"]
    assert [(one["Key"], one["Size"]) for one in listed] == [("proxied", len(BODY))]
    assert client.head_object(Bucket="aufleet", Key="proxied")["ContentLength"] == len(BODY)
    assert s3_proxy.num_faults == 0
    assert (s3_proxy.count("PUT", key="proxied"), s3_proxy.count("GET", key="/proxied")) == (1, 1)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "slow"])
def test_each_mode_fails_one_request_and_spares_the_next(client, impatient, s3_proxy, mode) -> None:
    s3_proxy.fail_next(mode)

    with pytest.raises((BotoCoreError, ClientError)):
        read(impatient)

    assert read(client) == BODY
    assert [one.fault for one in s3_proxy.matching("GET")] == [mode, None]


@pytest.mark.parametrize("mode", ["error", "reset", "stall", "truncate"])
def test_each_mode_fails_a_write_too(client, impatient, s3_proxy, mode) -> None:
    s3_proxy.fail_next(mode, method="PUT")

    with pytest.raises((BotoCoreError, ClientError)):
        impatient.put_object(Bucket="aufleet", Key="written", Body=BODY)

    client.put_object(Bucket="aufleet", Key="written", Body=BODY[::-1])
    found = client.get_object(Bucket="aufleet", Key="written")["Body"].read()
    assert found == BODY[::-1]


def test_a_slow_read_arrives_whole(client, s3_proxy) -> None:
    s3_proxy.slow_s = 0.5
    s3_proxy.fail_next("slow")
    began = time.monotonic()

    assert read(client) == BODY

    assert time.monotonic() - began >= 0.5


def test_a_store_that_is_away_comes_back_at_the_same_address(client, s3_proxy) -> None:
    endpoint = s3_proxy.endpoint
    s3_proxy.away = True
    with pytest.raises(BotoCoreError):
        read(client)

    s3_proxy.away = False

    assert s3_proxy.endpoint == endpoint
    assert read(client) == BODY


def test_the_same_share_fails_in_every_run(client, s3_proxy) -> None:
    def fates(seed: int) -> list[str | None]:
        twin = FaultProxy(target="", seed=seed, rate=0.1)
        head = type("Head", (), {"path": "/x", "method": "GET"})
        return [twin._fault_of(head) for _ in range(2000)]

    assert fates(3) == fates(3)
    assert fates(3) != fates(4)
    assert 150 < sum(fate is not None for fate in fates(3)) < 250
    assert set(fates(3)) == {None, *MODES}
