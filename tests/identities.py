"""Certificates of callers, for mutual TLS: signed by an authority of the test."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A caller's certificate and key, PEM."""

    chain: bytes
    key: bytes


class Authority:
    """Signs callers' certificates."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("test authority")
        self._certificate = self._sign(self._name, self._key, ends_in=timedelta(days=1), is_ca=True)

    def write(self, path: Path) -> Path:
        """Write the authority's own certificate."""
        path.write_bytes(self._certificate.public_bytes(Encoding.PEM))
        return path

    def identity(self, *, ends_in: timedelta = timedelta(hours=1)) -> Identity:
        """Return a new caller's certificate; a negative time makes one that has ended."""
        key = ec.generate_private_key(ec.SECP256R1())
        chain = self._sign(_name("caller"), key, ends_in=ends_in, is_ca=False)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Identity(chain=chain.public_bytes(Encoding.PEM), key=private)

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, ends_in: timedelta, is_ca: bool
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + ends_in)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if not is_ca:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
            builder = builder.add_extension(usage, critical=False)
        return builder.sign(self._key, SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
