"""The card of a model package: what the weights are, where they come from, how good they are."""

import re
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aufleet.errors import PackageError

SCHEMA_VERSION = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")
INTENDED_USE = "research use only, not a medical device"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(_Strict):
    """What `build_model` needs to build the network again."""

    name: str
    """The network's name in the catalog."""
    options: dict[str, Any]
    """The network's `config`: every keyword argument of `build_model`."""


class Preprocessing(_Strict):
    """How a photo becomes the network's input; the code is `aufleet.data.alignment`."""

    alignment: str = "five-point"
    """In-plane rotation, one scale and a shift, from eyes, nose tip and mouth corners."""
    aligned_size: int = 200
    """Side of the aligned frame in pixels."""
    crop: str = "centre"
    """Which part of the aligned frame the network sees."""
    channels: str = "RGB"
    mean: float = 0.5
    """Subtracted from pixels in [0, 1]."""
    std: float = 0.5
    """Divided by, afterwards: the network sees [-1, 1]."""


class FoldScore(_Strict):
    """How one member does on the subjects of its fold that it never saw."""

    fold: int
    part: Literal["validation", "test"]
    macro_f1: float
    per_label: dict[str, float]
    """F1 of each unit ("AU12") or grade ("medium")."""
    constant: dict[str, float]
    """F1 of the best constant answer, per unit or grade."""
    kappa: float | None = None
    """Quadratic-weighted kappa of the grades; None for units, and where it was not kept."""


class ReliabilityBin(_Strict):
    """The answers whose probability falls into one tenth of 0 to 1."""

    probability: float
    """Their mean probability."""
    share: float
    """Which share of them came true: they match where the model is calibrated."""
    count: int


class Reliability(_Strict):
    """How far calibrated probabilities can be taken at their word, on validation frames.

    Of units every probability counts, of grades that of the answered grade.
    """

    error: float
    """Expected calibration error: mean distance of `share` and `probability`, weighted by count."""
    bins: tuple[ReliabilityBin, ...]
    """Those that are not empty, from low to high."""


class DatasetReference(_Strict):
    """The data that the weights were made from."""

    uri: str
    manifest_sha256: str


class Card(_Strict):
    """Everything about a package but the numbers themselves.

    The package's digest is the card's sha256: the card names the digest of the weights, so one
    name stands for both.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    """The registered model, which is the experiment's name."""
    task: Literal["au", "palsy"]
    kind: Literal["ensemble", "best-fold", "refit"]
    """Every fold of the winner together, the best one alone, or one network of all subjects."""
    architecture: Architecture
    members: tuple[str, ...] = Field(min_length=1)
    """The prefixes of the members' weights: ("fold1", "fold2", "fold3"), or ("refit",)."""
    units: tuple[int, ...] = ()
    """FACS numbers, in the order of the network's outputs; empty for palsy."""
    grades: tuple[str, ...] = ()
    """Grades, in the order of the network's outputs; empty for action units."""
    trained_heads: tuple[Literal["side", "regions"], ...] = ()
    """Heads of a palsy network, beside the grades, that had labels to learn from; the others would
    only guess, and the service keeps them to itself."""
    frame_size: int
    """Side of the crop that the network takes, in pixels."""
    preprocessing: Preprocessing = Preprocessing()
    thresholds: dict[str, float] = {}
    """Unit -> the calibrated probability from which it counts as active; empty for palsy."""
    temperature: float = Field(gt=0)
    """The members' mean logits are divided by it."""
    reliability: Reliability | None = None
    """Of the calibrated probabilities; None where they were not kept."""
    scores: tuple[FoldScore, ...]
    dataset: DatasetReference
    code_version: str
    trials: tuple[str, ...]
    """The trials that made the members, or that chose the epochs of a refit."""
    refit_epochs: int | None = None
    """Of a refit: how long it was trained; None for the others."""
    created: datetime
    """When the last of those trials ended: promoting them again makes the same package."""
    weights_sha256: str
    weights_size_bytes: int
    intended_use: str = INTENDED_USE

    @property
    def num_members(self) -> int:
        """How many networks answer together."""
        return len(self.members)


def dump_card(card: Card) -> bytes:
    """Return the card as JSON, the same bytes for the same card."""
    return (card.model_dump_json(indent=2) + "\n").encode()


def parse_card(data: bytes, *, uri: str) -> Card:
    """Return the card written by `dump_card`.

    Raises:
        PackageError: It is not a card, or one of a schema that this version does not know.
    """
    try:
        version = _SchemaOnly.model_validate_json(data).schema_version
        if version != SCHEMA_VERSION:
            raise PackageError(
                f"the card of {uri} has schema {version}",
                f"this version reads schema {SCHEMA_VERSION}; install the aufleet that wrote it",
            )
        return Card.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole of it"
        raise PackageError(f"the card of {uri} is not readable ({where}: {first['msg']})") from None


def digest_of(uri: str) -> str:
    """Return the digest that ends a package's URI.

    Raises:
        PackageError: The URI ends in something else.
    """
    digest = uri.rstrip("/").rpartition("/")[2]
    if not _DIGEST.fullmatch(digest):
        raise PackageError(
            f"{uri} is not the URI of a model package", "it ends in the 64 digits of a sha256"
        )
    return digest


class _SchemaOnly(BaseModel):
    schema_version: int
