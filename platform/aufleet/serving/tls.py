"""A certificate authority of our own and a server certificate, for a gateway without a given one.

    <folder>/ca.pem, ca.key          clients trust ca.pem; kept, so that it stays the same
    <folder>/server.pem, server.key  renewed before it ends and when the hosts change

All files are of mode 600.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aufleet.errors import ConfigError
from aufleet.serving.private_files import locked, write_private

CA_LIFETIME = timedelta(days=3650)
CA_RENEWAL = timedelta(days=365)
SERVER_LIFETIME = timedelta(days=90)
SERVER_RENEWAL = timedelta(days=30)
"""A certificate is made anew when less than this is left of it."""
CLOCK_SKEW = timedelta(minutes=5)
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """Where the PEM files lie."""

    certificate_file: Path
    """The server's certificate chain."""
    key_file: Path
    """The server's private key."""
    ca_file: Path
    """What a client needs to trust the server."""


@dataclass(frozen=True, kw_only=True)
class _Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def own_certificates(
    folder: Path, *, hosts: Sequence[str] = (), now: datetime | None = None
) -> TlsFiles:
    """Return certificates signed by our own authority, made or renewed where needed.

    Args:
        folder: Where the files lie.
        hosts: Names and addresses that clients use, besides those of this machine's loopback.
        now: The present time; the clock's where it is not given.
    """
    now = now or datetime.now(UTC)
    wanted = sorted({*LOCAL_HOSTS, *hosts})
    files = TlsFiles(
        certificate_file=folder / "server.pem",
        key_file=folder / "server.key",
        ca_file=folder / "ca.pem",
    )
    with locked(folder / "lock"):
        authority = _read_pair(files.ca_file, folder / "ca.key")
        if authority is None or _ends_within(authority, CA_RENEWAL, now=now):
            authority = _make_authority(now=now)
            _write_pair(authority, files.ca_file, folder / "ca.key")
        server = _read_pair(files.certificate_file, files.key_file)
        if server is None or not _still_good(server, authority, hosts=wanted, now=now):
            server = _make_server(authority, hosts=wanted, now=now)
            _write_pair(server, files.certificate_file, files.key_file)
    return files


def given_certificates(certificate_file: Path, key_file: Path, *, ca_file: Path | None) -> TlsFiles:
    """Return certificates that the user brings.

    Raises:
        ConfigError: A file is not there.
    """
    # A certificate that signs itself is its own authority.
    files = TlsFiles(
        certificate_file=certificate_file, key_file=key_file, ca_file=ca_file or certificate_file
    )
    for file in (files.certificate_file, files.key_file, files.ca_file):
        if not file.is_file():
            raise ConfigError(f"there is no file {file}", "name PEM files of certificate and key")
    return files


def _still_good(server: _Pair, authority: _Pair, *, hosts: Sequence[str], now: datetime) -> bool:
    names = server.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = {
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    }
    return (
        set(hosts) <= known
        and server.certificate.issuer == authority.certificate.subject
        and not _ends_within(server, SERVER_RENEWAL, now=now)
    )


def _ends_within(pair: _Pair, time: timedelta, *, now: datetime) -> bool:
    return pair.certificate.not_valid_after_utc - now < time


def _make_authority(*, now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # The serial number in the name tells one authority from the next.
    name = _name(f"aufleet local authority {x509.random_serial_number():x}"[:60])
    builder = _builder(subject=name, issuer=name, key=key, now=now, lifetime=CA_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    return _Pair(certificate=builder.sign(key, SHA256()), key=key)


def _make_server(authority: _Pair, *, hosts: Sequence[str], now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(
        subject=_name("aufleet gateway"),
        issuer=authority.certificate.subject,
        key=key,
        now=now,
        lifetime=SERVER_LIFETIME,
    )
    alternatives = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    builder = builder.add_extension(alternatives, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
    )
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
        critical=False,
    )
    return _Pair(certificate=builder.sign(authority.key, SHA256()), key=key)


def _builder(
    *,
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _read_pair(certificate_file: Path, key_file: Path) -> _Pair | None:
    """Return what both files hold; None where they are missing, damaged or do not belong together.

    Two files cannot be replaced at once, so a stop in between leaves a pair that does not match.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return None
    if certificate.public_key() != key.public_key():
        return None
    return _Pair(certificate=certificate, key=key)


def _write_pair(pair: _Pair, certificate_file: Path, key_file: Path) -> None:
    key = pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(key_file, key)
    write_private(certificate_file, pair.certificate.public_bytes(Encoding.PEM))
