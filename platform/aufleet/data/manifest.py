"""`manifest.json`: what a published data set holds, down to the digest of each partition."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aufleet.domain.action_units import label_of
from aufleet.domain.folds import NO_FOLD, NUM_FOLDS, Fold
from aufleet.errors import ConfigError, DataError, ObjectCorruptError

MANIFEST_KEY = "manifest.json"
SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)
"""Version 1 named neither the list of unusable frames nor how many frames were coded."""
UNGRADED = "not graded"

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""What may stand in an object's key: no slash, no space, no leading dot."""
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Partition(_Strict):
    """All frames of one subject, in one object."""

    subject: Name
    key: str
    """Below the data set's own URI."""
    sha256: Sha256
    size_bytes: Count
    num_frames: Count


class ObjectReference(_Strict):
    """An object that the manifest names beside the partitions."""

    key: str
    """Below the data set's own URI."""
    sha256: Sha256
    size_bytes: Count


class FoldSubjects(_Strict):
    """One subject-exclusive split."""

    number: int
    train: tuple[Name, ...]
    validation: tuple[Name, ...]
    test: tuple[Name, ...]


class Manifest(_Strict):
    """A data set's table of contents; written last, once, and never changed."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    name: Name
    version: Name
    source: str
    """Which importer made it, and from what."""
    seed: int
    """Decided the folds, and the faces where they are synthetic."""
    units: tuple[int, ...]
    """Order of the unit columns."""
    partitions: tuple[Partition, ...]
    """One per subject, in order of the subjects' names."""
    folds: tuple[FoldSubjects, ...]
    positive_rates: dict[str, float]
    """Label -> share of the coded frames in which the unit is active; units never coded lack."""
    grade_counts: dict[str, Count]
    """Grade or "not graded" -> frames."""
    unusable: dict[str, Count]
    """Reason -> frames of the source that could not be used."""
    unusable_list: ObjectReference | None = None
    """The table of them, one by one; None where everything could be used."""
    coded_frames: dict[str, Count] | None = None
    """Label -> frames in which the unit was coded; None in manifests of version 1."""
    replaces: Name | None = None
    """The version that this one stands in for, without a subject who withdrew."""

    @property
    def num_frames(self) -> int:
        """Frames of all subjects."""
        return sum(partition.num_frames for partition in self.partitions)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subjects' names in order."""
        return tuple(partition.subject for partition in self.partitions)

    @property
    def unit_labels(self) -> tuple[str, ...]:
        """The units as "AU12"."""
        return tuple(map(label_of, self.units))

    @property
    def digest(self) -> str:
        """sha256 of the contents: equal digests mean equal data sets."""
        return hashlib.sha256(_canonical(self._content())).hexdigest()

    def fold(self, number: int) -> Fold:
        """Return fold 1, 2 or 3.

        Raises:
            ConfigError: There is no such fold.
        """
        for fold in self.folds:
            if fold.number == number:
                return Fold(**fold.model_dump())
        raise ConfigError(f"there is no fold {number}", f"folds are 1 to {NUM_FOLDS}")

    def subjects_known_to(self, fold: int) -> tuple[str, ...]:
        """Return who shapes the models of a fold; those of no fold are trained on all subjects.

        Raises:
            ConfigError: There is no such fold.
        """
        if fold == NO_FOLD:
            return self.subjects
        one = self.fold(fold)
        return (*one.train, *one.validation)

    def to_bytes(self) -> bytes:
        """Return the file's content, sealed with its digest; the same for the same manifest."""
        content = {**self._content(), "digest": self.digest}
        return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"

    def equals(self, other: "Manifest") -> bool:
        """Return whether both name the same data set, also where one has the older schema."""
        shared = min(self.schema_version, other.schema_version)
        return self._as_version(shared) == other._as_version(shared)

    def _as_version(self, version: int) -> dict[str, Any]:
        later = _SINCE_VERSION_2 if version == 1 else set()
        return self.model_dump(mode="json", exclude={"schema_version", *later})

    def _content(self) -> dict[str, Any]:
        """Return what is sealed; a field that an older schema lacks stays away while it is None."""
        return self.model_dump(mode="json", exclude_none=True)


_SINCE_VERSION_2 = {"unusable_list", "coded_frames", "replaces"}


def parse_manifest(data: bytes, *, uri: str) -> Manifest:
    """Return the manifest in the bytes of a `manifest.json`.

    Args:
        data: The file's content.
        uri: Where it was read, for the error.

    Raises:
        DataError: A schema of another version.
        ObjectCorruptError: The bytes are not what was published.
    """
    try:
        content = json.loads(data)
        seal = content.pop("digest")
        if content["schema_version"] not in READABLE_VERSIONS:
            raise DataError(
                f"{uri} has schema version {content['schema_version']}",
                f"this aufleet reads up to version {SCHEMA_VERSION}; install a newer one",
            )
        # From JSON, so that strict mode takes its lists as tuples.
        manifest = Manifest.model_validate_json(json.dumps(content))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        detail = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ObjectCorruptError(f"{uri} is damaged ({detail})", "publish a new version") from error
    if manifest.digest != seal:
        raise ObjectCorruptError(f"{uri} does not match its digest", "publish a new version")
    return manifest


def _canonical(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
