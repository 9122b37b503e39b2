"""The history of aliases: which version an alias pointed to, since when, who moved it and why.

A move is a tag of the registered model, so that it lies where the alias lies and is backed up
with it.
"""

import getpass
import json
import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from aufleet.errors import RegistryError

TAG_PREFIX = "alias_move."
USER_VARIABLE = "AUFLEET_USER"


def this_user() -> str:
    """Return who moves an alias: AUFLEET_USER, or the account's name."""
    try:
        return os.environ.get(USER_VARIABLE) or getpass.getuser()
    except (KeyError, OSError):
        # A container's account may have a number and no name.
        return f"user {os.getuid()}"


@dataclass(frozen=True, kw_only=True)
class AliasMove:
    """An alias that was pointed to another version."""

    alias: str
    version: str
    previous: str | None
    """The version that had the alias before; None for the first one."""
    reason: str = ""
    is_rollback: bool = False
    who: str = field(default_factory=this_user)
    when: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_tag(self) -> tuple[str, str]:
        """Return the tag's key, which no other move has, and its value."""
        plain = asdict(self) | {"when": self.when.isoformat()}
        # In order of time; two moves at one moment keep a row each.
        return f"{TAG_PREFIX}{self.when:%Y%m%dT%H%M%S%f}.{uuid.uuid4().hex[:8]}", json.dumps(plain)


def moves_in(tags: Iterable[tuple[str, str]]) -> list[AliasMove]:
    """Return the moves among a registered model's tags (key, value), the oldest first."""
    values = (value for key, value in sorted(tags) if key.startswith(TAG_PREFIX))
    return [_move_of(json.loads(value)) for value in values]


def version_before(moves: Sequence[AliasMove], *, alias: str, version: str) -> str:
    """Return the version that an alias pointed to before it was moved to `version` on purpose.

    A rollback is no such move: rolling back twice goes two versions back, not to and fro.

    Args:
        moves: The oldest first.
        alias: Which alias.
        version: What it points to now.

    Raises:
        RegistryError: No version had the alias before.
    """
    for move in reversed(moves):
        if (move.alias, move.version, move.is_rollback) == (alias, version, False):
            if move.previous is None:
                break
            return move.previous
    raise RegistryError(
        f"no version had the alias {alias!r} before version {version}",
        "`aufleet models history NAME` lists the moves",
    )


def _move_of(plain: dict[str, Any]) -> AliasMove:
    plain["when"] = datetime.fromisoformat(plain["when"])
    return AliasMove(**plain)
