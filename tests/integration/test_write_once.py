"""What is written once has one writer, whatever gets lost on the way."""

import pytest

from aufleet.errors import AlreadyExistsError

pytestmark = pytest.mark.s3


def test_a_write_whose_answer_gets_lost_has_happened_once(s3_proxy, s3_store) -> None:
    s3_store.write_new("first", b"opens the connection that the next ones break")
    s3_proxy.modes, s3_proxy.rate = ("error", "reset", "truncate"), 0.6
    for number in range(10):
        s3_store.write_new(f"row-{number}", str(number).encode())
    s3_proxy.rate = 0.0
    assert {request.fault for request in s3_proxy.matching("PUT")} >= {"reset", "truncate"}
    assert [s3_store.read(f"row-{number}") for number in range(10)] == [
        str(number).encode() for number in range(10)
    ]


def test_another_writer_of_the_same_bytes_is_another_writer(s3_proxy, s3_store) -> None:
    s3_store.write_new("row", b"same")
    s3_proxy.fail_next("error", method="PUT", key="row", times=1)
    with pytest.raises(AlreadyExistsError, match="is there already"):
        s3_store.write_new("row", b"same")
