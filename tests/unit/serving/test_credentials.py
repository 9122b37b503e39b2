"""Certificates in use, over real handshakes."""

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from identities import Authority

from aufleet.errors import ConfigError
from aufleet.serving.credentials import Certificates
from aufleet.serving.directory import HealthServicer
from aufleet.serving.tls import own_certificates


@asynccontextmanager
async def served(certificates):
    """Run a server that answers health; yields its address."""
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
    port = server.add_secure_port("127.0.0.1:0", certificates.credentials())
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def code_of(address, ca_file, *, identity=None):
    """Return how a call over a new connection ends."""
    key, chain = (identity.key, identity.chain) if identity else (None, None)
    credentials = grpc.ssl_channel_credentials(ca_file.read_bytes(), key, chain)
    own = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(address, credentials, options=own) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        try:
            await check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.RpcError as error:
            return error.code().name
        return "OK"


def certificates_of(files, **others):
    return Certificates(certificate_file=files.certificate_file, key_file=files.key_file, **others)


def replace_pair(files, other):
    """Write another pair over one that is in use; the key first, as a renewal may."""
    files.key_file.write_bytes(other.key_file.read_bytes())
    yield
    files.certificate_file.write_bytes(other.certificate_file.read_bytes())
    yield


def test_a_new_certificate_is_used_without_a_restart(tmp_path):
    async def scenario():
        files, other = own_certificates(tmp_path / "old"), own_certificates(tmp_path / "new")
        old_ca = tmp_path / "old.pem"
        old_ca.write_bytes(files.ca_file.read_bytes())
        handshakes = []
        certificates = certificates_of(files, on_handshake=lambda: handshakes.append(1))
        async with served(certificates) as address:
            assert await code_of(address, old_ca) == "OK"
            renewal = replace_pair(files, other)
            next(renewal)
            # Half a pair is not taken: the old one goes on.
            assert await code_of(address, old_ca) == "OK"
            next(renewal)
            assert await code_of(address, other.ca_file) == "OK"
            assert await code_of(address, old_ca) == "UNAVAILABLE"
        assert len(handshakes) >= 4

    asyncio.run(scenario())


def test_mutual_tls_lets_in_only_who_shows_a_valid_certificate(tmp_path):
    async def scenario():
        files, authority = own_certificates(tmp_path), Authority()
        identities = {
            "trusted": authority.identity(),
            "none": None,
            "stranger": Authority().identity(),
            "expired": authority.identity(ends_in=timedelta(days=-1)),
        }
        trusted = authority.write(tmp_path / "trusted.pem")
        async with served(certificates_of(files, client_ca_file=trusted)) as address:
            return {
                name: await code_of(address, files.ca_file, identity=identity)
                for name, identity in identities.items()
            }

    assert asyncio.run(scenario()) == {
        "trusted": "OK",
        "none": "UNAVAILABLE",
        "stranger": "UNAVAILABLE",
        "expired": "UNAVAILABLE",
    }


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize(
    ("most", "is_let"), [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)]
)
def test_tls_before_1_2_is_refused(tmp_path, most, is_let):
    files = own_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(files.ca_file)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, most

    def shake(address):
        host, _, port = address.rpartition(":")
        try:
            with (
                socket.create_connection((host, int(port)), timeout=5) as plain,
                context.wrap_socket(plain, server_hostname=host) as safe,
            ):
                return safe.version()
        except (ssl.SSLError, ConnectionError):
            return None

    async def scenario():
        async with served(certificates_of(files)) as address:
            loop = asyncio.get_running_loop()
            with ThreadPoolExecutor() as threads:
                return await loop.run_in_executor(threads, shake, address)

    assert (asyncio.run(scenario()) is not None) == is_let


def test_files_that_cannot_be_used_are_named(tmp_path):
    files, other = own_certificates(tmp_path / "a"), own_certificates(tmp_path / "b")
    with pytest.raises(ConfigError, match=r"server\.pem and its key do not belong together"):
        Certificates(certificate_file=files.certificate_file, key_file=other.key_file)
    with pytest.raises(ConfigError, match=r"nowhere\.pem cannot be read"):
        certificates_of(files, client_ca_file=tmp_path / "nowhere.pem")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(ConfigError, match=r"empty\.pem holds no certificate"):
        certificates_of(files, client_ca_file=empty)
