"""Model cards as promotion writes them, for tests that need one."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from torch import Tensor

from aufleet.registry.card import Architecture, Card, DatasetReference
from aufleet.registry.package import pack_members
from aufleet.storage import sha256_of

UNITS = (1, 12)


def a_card(**changes: Any) -> Card:
    """Return the card of one untrained network that detects `UNITS`, but for some changes."""
    said = {
        "name": "faces",
        "task": "au",
        "kind": "best-fold",
        "architecture": Architecture(name="plain", options={}),
        "members": ("fold1",),
        "units": UNITS,
        "frame_size": 176,
        "thresholds": {"AU1": 0.5, "AU12": 0.5},
        "temperature": 1.0,
        "scores": (),
        "dataset": DatasetReference(uri="none", manifest_sha256="0" * 64),
        "code_version": "0",
        "trials": (),
        "created": datetime(2026, 1, 1, tzinfo=UTC),
        "weights_sha256": "0" * 64,
        "weights_size_bytes": 1,
    }
    return Card(**said | changes)


def a_package(
    members: Mapping[str, Mapping[str, Tensor]], config: Mapping[str, Any], **changes: Any
) -> tuple[Card, bytes]:
    """Return the card and the packed weights of networks.

    Args:
        members: Name -> tensors of each.
        config: The `config` of the networks.
        changes: What the card says otherwise than `a_card`.
    """
    packed = pack_members(members)
    options = {key: value for key, value in config.items() if key != "name"}
    said = {
        "architecture": Architecture(name=config["name"], options=options),
        "members": tuple(members),
        "weights_sha256": sha256_of(packed),
        "weights_size_bytes": len(packed),
    }
    return a_card(**said | changes), packed
