"""Who may call: random tokens, kept only as SHA-256 digests, with scopes and an end.

A token reads "auf_<id>_<secret>". The id finds the row; the digest is compared in constant time.
A plain SHA-256 is enough because the secret has 256 random bits: there is no dictionary to try.
"""

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from aufleet.errors import ConfigError, ForbiddenError, UnauthenticatedError
from aufleet.serving.private_files import locked, write_private

Clock = Callable[[], float]

ANALYZE = "analyze"
READ_MODELS = "models:read"
SCOPES = (ANALYZE, READ_MODELS)
DAY_S = 86_400.0
MAX_RATE_PER_S = 1e6

_TOKEN = re.compile(r"auf_([0-9a-f]{12})_([\w-]{43})", re.ASCII)
_NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class TokenRow:
    """What is kept of a token."""

    id: str
    """Public; stands in the token and in the list."""
    name: str
    """Who uses it; unique."""
    digest: str
    """SHA-256 of the whole token, hexadecimal."""
    scopes: tuple[str, ...]
    """What it may do."""
    created_s: float
    """Unix time."""
    expires_s: float
    """Unix time from which it is refused."""
    rate_per_s: float = 0.0
    """The most calls per second, and frames of streams; 0 for any number."""
    max_calls: int = 0
    """The most calls at the same time; 0 for any number."""


class TokenFile:
    """The file of rows, changed by one process at a time."""

    def __init__(self, path: Path, *, clock: Clock = time.time) -> None:
        self._path, self._clock = path, clock

    def create(
        self,
        name: str,
        *,
        scopes: Sequence[str],
        expires_days: float,
        rate_per_s: float = 0.0,
        max_calls: int = 0,
    ) -> str:
        """Add a row and return its token, which is shown this once.

        Args:
            name: Who uses it.
            scopes: What it may do.
            expires_days: How long it is valid.
            rate_per_s: The most calls per second; 0 for any number.
            max_calls: The most calls at the same time; 0 for any number.

        Raises:
            ConfigError: The name is taken or odd, a scope is unknown, the time is not positive, or
                a limit is negative.
        """
        _check_new(name, scopes=scopes, expires_days=expires_days)
        identifier, now = secrets.token_hex(6), self._clock()
        token = f"auf_{identifier}_{secrets.token_urlsafe(32)}"
        row = TokenRow(
            id=identifier,
            name=name,
            digest=_digest_of(token),
            scopes=tuple(sorted(set(scopes))),
            created_s=now,
            expires_s=now + expires_days * DAY_S,
            rate_per_s=rate_per_s,
            max_calls=max_calls,
        )
        if not (0 <= rate_per_s <= MAX_RATE_PER_S and max_calls >= 0):
            raise ConfigError(
                f"a token cannot be limited to {rate_per_s:g} calls/s and {max_calls} at once",
                f"use 0 to {MAX_RATE_PER_S:g}, and 0 or more; 0 sets no limit",
            )
        with locked(self._lock):
            rows = self.rows()
            if any(known.name == name for known in rows):
                raise ConfigError(f"there is a token {name!r} already", "revoke it first")
            self._write([*rows, row])
        return token

    def revoke(self, name: str) -> None:
        """Remove a row; its token is refused from then on.

        Raises:
            ConfigError: There is no such row; the known names are listed.
        """
        with locked(self._lock):
            rows = self.rows()
            kept = [row for row in rows if row.name != name]
            if len(kept) == len(rows):
                known = ", ".join(row.name for row in rows) or "none"
                raise ConfigError(f"there is no token {name!r}", f"known tokens: {known}")
            self._write(kept)

    def rows(self) -> list[TokenRow]:
        """Return the rows, the oldest first; none where there is no file.

        Raises:
            ConfigError: The file is not one of ours.
        """
        try:
            return [
                TokenRow(**{**row, "scopes": tuple(row["scopes"])})
                for row in json.loads(self._path.read_bytes())["tokens"]
            ]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"{self._path} is not a token file ({error})", "move it away and create tokens anew"
            ) from error

    @property
    def _lock(self) -> Path:
        return self._path.with_suffix(".lock")

    def _write(self, rows: Sequence[TokenRow]) -> None:
        content = {"tokens": [asdict(row) for row in rows]}
        write_private(self._path, (json.dumps(content, indent=2) + "\n").encode())


class Doorkeeper:
    """Tells a running gateway who calls; reads the file again when it changes."""

    def __init__(self, path: Path, *, clock: Clock = time.time) -> None:
        self._path, self._clock = path, clock
        self._rows: dict[str, TokenRow] = {}
        self._seen: tuple[int, int, int] | None = None

    def admit(self, authorization: str, *, scope: str | None) -> TokenRow:
        """Return the row of the caller's token.

        Args:
            authorization: The header's value, "Bearer TOKEN".
            scope: What the call needs; None for any valid token.

        Raises:
            UnauthenticatedError: No token, a malformed, an unknown or an expired one.
            ForbiddenError: The token lacks the scope.
        """
        if not authorization:
            raise UnauthenticatedError(
                "the call carries no token", 'send the metadata "authorization: Bearer TOKEN"'
            )
        row = self._row_of(authorization)
        if row is None or row.expires_s <= self._clock():
            # The same words for a malformed, an unknown and an expired token.
            raise UnauthenticatedError("the token is not valid", "aufleet token create makes one")
        if scope is not None and scope not in row.scopes:
            raise ForbiddenError(
                f"token {row.name!r} lacks the scope {scope!r}",
                f"it has {', '.join(row.scopes)}",
            )
        return row

    def _row_of(self, authorization: str) -> TokenRow | None:
        kind, _, token = authorization.partition(" ")
        match = _TOKEN.fullmatch(token.strip())
        if kind.lower() != "bearer" or match is None:
            return None
        self._reload()
        row = self._rows.get(match[1])
        if row is None or not hmac.compare_digest(row.digest, _digest_of(match[0])):
            return None
        return row

    def _reload(self) -> None:
        seen = _fingerprint(self._path)
        if seen != self._seen:
            # What cannot be read admits nobody: a damaged file must not keep old tokens alive.
            self._rows, self._seen = {}, seen
            with suppress(ConfigError):
                self._rows = {row.id: row for row in TokenFile(self._path).rows()}


def _fingerprint(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _check_new(name: str, *, scopes: Sequence[str], expires_days: float) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a token", "use up to 64 letters, digits, '.', '_', '-' and '@'"
        )
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        wrong = f"there is no scope {unknown[0]!r}" if unknown else "a token needs a scope"
        raise ConfigError(wrong, f"scopes are {', '.join(SCOPES)}")
    if not 0 < expires_days <= 3650:
        raise ConfigError(f"a token cannot be valid for {expires_days:g} days", "use 1 to 3650")
