import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from aufleet.errors import ConfigError
from aufleet.serving.tls import (
    CA_LIFETIME,
    SERVER_LIFETIME,
    SERVER_RENEWAL,
    given_certificates,
    own_certificates,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def certificate(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def verify(files, *, host, now=NOW):
    policy = PolicyBuilder().store(Store([certificate(files.ca_file)])).time(now)
    policy.build_server_verifier(x509.DNSName(host)).verify(certificate(files.certificate_file), [])


def test_a_client_that_trusts_the_authority_trusts_the_server(tmp_path):
    files = own_certificates(tmp_path, hosts=["gpu-7.lab"], now=NOW)
    verify(files, host="localhost")
    verify(files, host="gpu-7.lab")
    with pytest.raises(x509.verification.VerificationError):
        verify(files, host="other.lab")


def test_every_file_is_private(tmp_path):
    own_certificates(tmp_path, now=NOW)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys(["lock", "ca.pem", "ca.key", "server.pem", "server.key"], 0o600)


def test_good_certificates_are_kept(tmp_path):
    files = own_certificates(tmp_path, now=NOW)
    before = files.certificate_file.read_bytes(), files.ca_file.read_bytes()
    own_certificates(tmp_path, now=NOW + timedelta(days=10))
    assert (files.certificate_file.read_bytes(), files.ca_file.read_bytes()) == before


def test_a_server_certificate_is_renewed_before_it_ends_under_the_same_authority(tmp_path):
    files = own_certificates(tmp_path, now=NOW)
    authority, server = files.ca_file.read_bytes(), files.certificate_file.read_bytes()
    later = NOW + SERVER_LIFETIME - SERVER_RENEWAL + timedelta(days=1)
    own_certificates(tmp_path, now=later)
    assert files.ca_file.read_bytes() == authority
    assert files.certificate_file.read_bytes() != server
    verify(files, host="localhost", now=later)


def test_both_are_renewed_when_the_authority_ends(tmp_path):
    files = own_certificates(tmp_path, now=NOW)
    authority = files.ca_file.read_bytes()
    later = NOW + CA_LIFETIME
    own_certificates(tmp_path, now=later)
    assert files.ca_file.read_bytes() != authority
    verify(files, host="localhost", now=later)


def test_a_new_host_makes_a_new_server_certificate(tmp_path):
    files = own_certificates(tmp_path, now=NOW)
    own_certificates(tmp_path, hosts=["10.0.0.7"], now=NOW)
    names = certificate(files.certificate_file).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert "10.0.0.7" in map(str, names.value.get_values_for_type(x509.IPAddress))


def test_a_key_of_another_certificate_is_replaced(tmp_path):
    files = own_certificates(tmp_path / "one", now=NOW)
    other = own_certificates(tmp_path / "two", now=NOW)
    files.key_file.write_bytes(other.key_file.read_bytes())
    before = files.certificate_file.read_bytes()
    own_certificates(tmp_path / "one", now=NOW)
    assert files.certificate_file.read_bytes() != before
    verify(files, host="localhost")


def test_a_given_certificate_that_is_not_there_is_named(tmp_path):
    files = own_certificates(tmp_path, now=NOW)
    with pytest.raises(ConfigError, match="there is no file"):
        given_certificates(files.certificate_file, tmp_path / "none.key", ca_file=None)
    given = given_certificates(files.certificate_file, files.key_file, ca_file=None)
    assert given.ca_file == files.certificate_file
