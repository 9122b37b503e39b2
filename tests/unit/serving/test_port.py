import socket

import pytest

from aufleet.errors import EnvironmentProblem
from aufleet.serving.port import check_port, target_of


def test_a_free_port_is_fine():
    check_port("127.0.0.1", port=0)
    check_port("localhost", port=0)


def test_a_taken_port_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EnvironmentProblem, match="Address already in use"):
            check_port("127.0.0.1", port=taken.getsockname()[1])


def test_an_address_of_another_machine_is_said():
    with pytest.raises(EnvironmentProblem, match=r"cannot listen on 192\.0\.2\.1:0"):
        check_port("192.0.2.1", port=0)


@pytest.mark.parametrize(
    ("host", "target"),
    [("127.0.0.1", "127.0.0.1:7"), ("0.0.0.0", "localhost:7"), ("::1", "[::1]:7")],
)
def test_a_client_is_told_what_to_dial(host, target):
    assert target_of(host, port=7) == target
