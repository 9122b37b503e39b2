"""The gateway's TLS: certificates that are read again when their files change, and mutual TLS."""

import logging
from collections.abc import Callable
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from aufleet.errors import ConfigError

logger = logging.getLogger(__name__)

Fingerprint = tuple[tuple[int, int, int], ...]


class Certificates:
    """The files of a gateway's identity, and of whom it trusts.

    TLS 1.2 is the least that gRPC's server speaks. A pair that does not belong together, as while
    its two files are being replaced, is not taken: the last good one goes on.
    """

    def __init__(
        self,
        *,
        certificate_file: Path,
        key_file: Path,
        client_ca_file: Path | None = None,
        on_handshake: Callable[[], None] = lambda: None,
    ) -> None:
        """Read the files.

        Args:
            certificate_file: The chain, PEM.
            key_file: Its private key, PEM.
            client_ca_file: With it, callers need a certificate that one of these has signed.
            on_handshake: Called for every connection that is begun.

        Raises:
            ConfigError: A file is missing, or certificate and key do not belong together.
        """
        self._files = [certificate_file, key_file, *filter(None, [client_ca_file])]
        self._is_mutual = client_ca_file is not None
        self._on_handshake = on_handshake
        self._seen = self._fingerprint()
        self._present = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Return what a server's port takes."""
        return grpc.dynamic_ssl_server_credentials(
            self._present,
            self._fetch,  # pyright: ignore[reportArgumentType] - None is documented
            require_client_authentication=self._is_mutual,
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return a new configuration; None goes on with the last one. Called by gRPC's threads."""
        self._on_handshake()
        try:
            seen = self._fingerprint()
            if seen == self._seen:
                return None
            present = self._read()
        except ConfigError as error:
            logger.warning("the certificate in use stays: %s", error)
            return None
        self._seen, self._present = seen, present
        return present

    def _fingerprint(self) -> Fingerprint:
        try:
            stats = [file.stat() for file in self._files]
        except OSError as error:
            raise ConfigError(f"{error.filename} cannot be read ({error.strerror})") from None
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        try:
            chain, key, *roots = (file.read_bytes() for file in self._files)
        except OSError as error:
            raise ConfigError(f"{error.filename} cannot be read ({error.strerror})") from None
        _check_pair(chain, key, name=str(self._files[0]))
        if roots:
            _check_roots(roots[0], name=str(self._files[2]))
        return grpc.ssl_server_certificate_configuration(
            [(key, chain)], root_certificates=roots[0] if roots else None
        )


def _check_pair(chain: bytes, key: bytes, *, name: str) -> None:
    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{name} or its key is not PEM ({error})") from None
    if certificate.public_key() != private.public_key():
        raise ConfigError(f"{name} and its key do not belong together")


def _check_roots(roots: bytes, *, name: str) -> None:
    try:
        x509.load_pem_x509_certificates(roots)
    except ValueError as error:
        raise ConfigError(f"{name} holds no certificate ({error})") from None
