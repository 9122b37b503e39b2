"""Reading a published data set; every byte is checked against the manifest."""

import json
from dataclasses import dataclass
from pathlib import Path

from aufleet.data.manifest import MANIFEST_KEY, Manifest, Partition, parse_manifest
from aufleet.data.partition import SubjectFrames, decode_partition
from aufleet.domain.folds import Fold
from aufleet.errors import DataError, ObjectMissingError
from aufleet.storage import Store, open_store, root_uri

WITHDRAWN = "withdrawn"
"""Folder of notes on subjects whose frames were deleted from a published version."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A published data set; small, so that it may travel to other processes."""

    store: Store
    manifest: Manifest

    @property
    def uri(self) -> str:
        """Where it lies."""
        return self.store.uri

    def fold(self, number: int) -> Fold:
        """Return fold 1, 2 or 3."""
        return self.manifest.fold(number)

    def partition(self, subject: str) -> Partition:
        """Return where a subject's frames lie.

        Raises:
            DataError: The data set has no such subject.
        """
        for partition in self.manifest.partitions:
            if partition.subject == subject:
                return partition
        raise DataError(
            f"{self.uri} has no subject {subject}", f"it has {', '.join(self.manifest.subjects)}"
        )

    def read_subject(self, subject: str) -> SubjectFrames:
        """Return the frames of one of the manifest's subjects.

        Raises:
            DataError: The data set has no such subject.
            ObjectMissingError: The partition is not in the store.
            ObjectCorruptError: Its bytes are not those that were published.
        """
        data = self.read_partition(self.partition(subject))
        return decode_partition(data, subject=subject, num_units=len(self.manifest.units))

    def read_partition(self, partition: Partition) -> bytes:
        """Return the bytes of a partition after comparing them with their digest.

        Raises:
            ObjectMissingError: It is not in the store; says so where its subject withdrew.
            ObjectCorruptError: Its bytes are not those that were published.
        """
        try:
            return self.store.read_verified(partition.key, sha256=partition.sha256)
        except ObjectMissingError as error:
            if self.store.exists(withdrawn_key(partition.subject)):
                raise ObjectMissingError(
                    f"subject {partition.subject} withdrew and was deleted from {self.uri}",
                    "use the version without the subject",
                ) from error
            raise

    def withdrawn_keys(self) -> set[str]:
        """Return the keys of objects that were deleted because their subjects withdrew."""
        notes = (json.loads(self.store.read(key)) for key in self.store.keys(f"{WITHDRAWN}/"))
        return {key for note in notes for key in note["deleted"]}


def open_dataset(uri: str) -> Dataset:
    """Open a published data set.

    Args:
        uri: Its folder, "s3://bucket/prefix/datasets/name/version" or a local path, or
            "name/version" below the root.

    Raises:
        ObjectMissingError: Nothing was published there.
        ObjectCorruptError: The manifest is damaged.
        DataError: The manifest has a schema of another version.
    """
    store = open_store(resolve_uri(uri))
    try:
        data = store.read(MANIFEST_KEY)
    except ObjectMissingError as error:
        raise ObjectMissingError(
            f"there is no data set at {store.uri}", "aufleet data synth makes one"
        ) from error
    return Dataset(store=store, manifest=parse_manifest(data, uri=store.uri_of(MANIFEST_KEY)))


def resolve_uri(uri: str) -> str:
    """Return a data set's full URI: "name/version" means one below the root."""
    if "://" in uri or uri.startswith((".", "/", "~")) or Path(uri, MANIFEST_KEY).is_file():
        return uri
    return f"{root_uri()}/datasets/{uri}"


def withdrawn_key(subject: str) -> str:
    """Return where a version notes that a subject's frames were deleted."""
    return f"{WITHDRAWN}/subject={subject}.json"
