"""Refused handshakes, heard in a process of their own: its standard error is not pytest's."""

import os
import socket
import ssl
import subprocess
import sys

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from identities import Authority

from aufleet.serving.tls import own_certificates

# A name that nobody trusts, or a trusted name and another key.
SIGNED_BY_ANOTHER = {"certificate verify failed\n", "bad signature\n"}
LINES = """
import os
from aufleet.serving.refused_handshakes import RefusedHandshakes

heard = []
listening = RefusedHandshakes(heard.append)
os.write(2, b"I1 ssl.cc:1] Handshake failed with error SSL_ERROR_SSL: error:100000f7:SSL routines:"
            b"OPENSSL_internal:WRONG_VERSION_NUMBER: Invalid certificate\\n")
os.write(2, b"I1 ssl.cc:1] Handshake failed with error SSL_ERROR_SYSCALL: nothing\\n")
os.write(2, b"before ")
os.write(2, b"and beside\\n" * 100_000)
listening.close()
os.write(2, b"after\\n")
print(heard)
"""
SERVER = """
import asyncio, sys
from pathlib import Path
import grpc
from aufleet.serving.credentials import Certificates
from aufleet.serving.refused_handshakes import RefusedHandshakes

async def serve(certificate, key, ca):
    RefusedHandshakes(lambda reason: print(reason, flush=True))
    files = Certificates(
        certificate_file=Path(certificate), key_file=Path(key), client_ca_file=Path(ca)
    )
    server = grpc.aio.server()
    print(server.add_secure_port("127.0.0.1:0", files.credentials()), flush=True)
    await server.start()
    await asyncio.Event().wait()

asyncio.run(serve(*sys.argv[1:]))
"""


def heard(*, verbosity):
    return subprocess.run(
        [sys.executable, "-c", LINES],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "GRPC_VERBOSITY": verbosity},
    )


def test_a_refusal_is_heard_and_everything_else_goes_on():
    done = heard(verbosity="INFO")
    assert done.stdout == "['wrong version number', 'ssl error syscall']\n"
    assert done.stderr == "before " + "and beside\n" * 100_000 + "after\n"


def test_who_silences_grpc_is_warned_that_nothing_will_be_heard():
    done = heard(verbosity="none")
    assert "neither counted nor logged, because GRPC_VERBOSITY is none: unset it" in done.stderr


@pytest.fixture
def files(tmp_path):
    return own_certificates(tmp_path)


@pytest.fixture
def server(files):
    """Yield the process of a server that prints its port, then what it refuses and why."""
    names = map(str, (files.certificate_file, files.key_file, files.ca_file))
    # A test of `aufleet predict` may have silenced gRPC in this process.
    environment = {**os.environ, "GRPC_VERBOSITY": "INFO"}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, *names], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.kill()


def test_what_grpc_refuses_is_heard_with_its_reason(server, files):
    address = ("127.0.0.1", int(server.stdout.readline()))
    with socket.create_connection(address) as plain:
        plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        assert server.stdout.readline() == "wrong version number\n"
    context = ssl.create_default_context(cafile=str(files.ca_file))
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(address) as plain,
        context.wrap_socket(plain, server_hostname="localhost"),
    ):
        assert server.stdout.readline() == "peer did not return a certificate\n"
    stranger = Authority().identity()
    credentials = grpc.ssl_channel_credentials(
        files.ca_file.read_bytes(), stranger.key, stranger.chain
    )
    with grpc.secure_channel(f"127.0.0.1:{address[1]}", credentials) as channel:
        with pytest.raises(grpc.RpcError):
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert server.stdout.readline() in SIGNED_BY_ANOTHER
