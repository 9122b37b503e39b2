"""A subject withdraws: a new version without the subject, and what is left to delete elsewhere.

The new version stands alone: what it names is copied, so that older versions may be deleted. The
other subjects stay in the parts of the folds where they were, so that scores stay comparable.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aufleet.data.dataset import Dataset, withdrawn_key
from aufleet.data.manifest import (
    MANIFEST_KEY,
    NAME_PATTERN,
    FoldSubjects,
    Manifest,
    ObjectReference,
)
from aufleet.data.orphans import dataset_versions
from aufleet.data.partition import decode_partition
from aufleet.data.publish import (
    check_subject_name,
    label_counts,
    read_manifest,
    write_manifest,
)
from aufleet.data.tally import tally_frames
from aufleet.data.unusable import count_by_reason, decode_list, write_list
from aufleet.errors import ConfigError, DataError
from aufleet.storage import Store


@dataclass(frozen=True, kw_only=True)
class Trace:
    """An object in which a subject who withdrew still stands."""

    uri: str
    what: str


def next_version(version: str) -> str:
    """Return the version after one whose name ends in a number: "1" -> "2", "v3" -> "v4".

    Raises:
        ConfigError: It does not end in a number.
    """
    found = re.fullmatch(r"(.*?)(\d+)", version)
    if not found:
        raise ConfigError(f"the version after {version!r} is not known", "name it with --version")
    return f"{found[1]}{int(found[2]) + 1}"


def forget_subject(
    dataset: Dataset,
    *,
    subject: str,
    version: str,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Publish a version without a subject and return it; the old version is not touched.

    One partition is in memory at a time. Interrupted, the same call copies only what is left.

    Args:
        dataset: The version that holds the subject.
        subject: Who withdrew.
        version: The name of the new version.
        progress: Called with the number of frames of each partition that is in its new place.

    Raises:
        AlreadyExistsError: The new version exists with other content.
        ConfigError: The new version's name cannot stand in a key.
        DataError: There is no such subject, or too few are left for three folds.
        ObjectCorruptError: A partition that would be copied is damaged.
    """
    old = dataset.manifest
    dataset.partition(subject)
    if not re.fullmatch(NAME_PATTERN, version) or version == old.version:
        raise ConfigError(f"{version!r} cannot name the new version", "such as 2")
    folds = tuple(_without(fold, subject, manifest=old) for fold in old.folds)
    target = _sibling(dataset.store, version)
    if done := _already_without(target, subject=subject, manifest=old):
        return Dataset(store=target, manifest=done)
    kept = tuple(partition for partition in old.partitions if partition.subject != subject)
    tallies = []
    for partition in kept:
        data = dataset.read_partition(partition)
        frames = decode_partition(data, subject=partition.subject, num_units=len(old.units))
        tallies.append(tally_frames(frames))
        if not target.exists(partition.key):
            target.write(partition.key, data)
        if progress:
            progress(partition.num_frames)
    unusable, listed = _unusable_without(subject, dataset=dataset, target=target)
    manifest = Manifest(
        name=old.name,
        version=version,
        source=old.source,
        seed=old.seed,
        units=old.units,
        partitions=kept,
        folds=folds,
        **label_counts(tallies, units=old.units),
        unusable=unusable,
        unusable_list=listed,
        replaces=old.version,
    )
    return Dataset(store=target, manifest=write_manifest(manifest, target=target))


def root_of(dataset: Dataset) -> Store:
    """Return the root below which a data set lies."""
    return Store(uri=dataset.uri.rsplit("/", 3)[0])


def _sibling(store: Store, version: str) -> Store:
    return Store(uri=f"{store.uri.rpartition('/')[0]}/{version}")


def _already_without(target: Store, *, subject: str, manifest: Manifest) -> Manifest | None:
    """Return what the same call has published; the old version may have lost frames since."""
    done = read_manifest(target)
    if done is None or done.replaces != manifest.version:
        return None
    kept = tuple(one for one in manifest.partitions if one.subject != subject)
    return done if done.partitions == kept else None


def _without(fold: FoldSubjects, subject: str, *, manifest: Manifest) -> FoldSubjects:
    """Return a fold without a subject; the others stay where they are.

    Only where nobody would be left to judge by, one training subject moves to validation.
    """
    parts = {
        name: tuple(one for one in getattr(fold, name) if one != subject)
        for name in ("train", "validation", "test")
    }
    if not parts["validation"] and len(parts["train"]) > 1:
        moved = parts["train"][manifest.seed % len(parts["train"])]
        parts["validation"] = (moved,)
        parts["train"] = tuple(one for one in parts["train"] if one != moved)
    for name, subjects in parts.items():
        if not subjects:
            raise DataError(
                f"without {subject} nobody is left in the {name} part of fold {fold.number}",
                "import the data set again without the subject, so that it is split anew",
            )
    return FoldSubjects(number=fold.number, **parts)


def _unusable_without(
    subject: str, *, dataset: Dataset, target: Store
) -> tuple[dict[str, int], ObjectReference | None]:
    listed = dataset.manifest.unusable_list
    if listed is None:
        # An older manifest counts without naming anybody; the counts are all there is.
        return dataset.manifest.unusable, None
    data = dataset.store.read_verified(listed.key, sha256=listed.sha256)
    items = [item for item in decode_list(data) if item.subject != subject]
    return count_by_reason(items), write_list(items, target=target)


def find_traces(root: Store, *, name: str, subject: str) -> list[Trace]:
    """Return every object below `datasets/<name>/` in which a subject still stands.

    Args:
        root: The root of everything.
        name: The data set's name; all its versions are searched.
        subject: Who withdrew.
    """
    return [
        Trace(uri=store.uri_of(key), what=what)
        for store in dataset_versions(root, name=name)
        for key, what in _traces_in(store, subject=subject)
    ]


def delete_subject(store: Store, *, subject: str, successor: str) -> list[str]:
    """Delete a subject's frames, receipts and list entries from one version; return their URIs.

    The version stays readable for the other subjects. A note says why this one is not there, and
    its manifest goes on naming the subject, or it would not be the version that was scored.

    Args:
        store: The old version's own store.
        subject: Who withdrew.
        successor: URI of the version without the subject.
    """
    check_subject_name(subject)
    keys = [key for key, _ in _traces_in(store, subject=subject) if key != MANIFEST_KEY]
    if not keys:
        return []
    earlier = _noted(store, subject=subject)
    note = {"subject": subject, "successor": successor, "deleted": sorted({*earlier, *keys})}
    # The note first: were we stopped between the two, readers would look for a lost object.
    store.write(withdrawn_key(subject), json.dumps(note).encode() + b"\n")
    store.delete(*keys)
    return [store.uri_of(key) for key in keys]


def _noted(store: Store, *, subject: str) -> list[str]:
    """Return the keys that an earlier call, perhaps an interrupted one, has named."""
    key = withdrawn_key(subject)
    return json.loads(store.read(key))["deleted"] if store.exists(key) else []


def _traces_in(store: Store, *, subject: str) -> Iterator[tuple[str, str]]:
    for entry in store.entries():
        key = entry.key
        if key.startswith(f"subject={subject}/"):
            yield key, "frames"
        elif key.startswith("imports/") and key.endswith(f"/subject={subject}.json"):
            yield key, "receipt of an import"
        elif key.startswith("unusable/") and _is_listed(subject, store.read(key)):
            yield key, "list of unusable frames"
        elif key == MANIFEST_KEY and _is_named(subject, store):
            yield key, "manifest that names the subject"


def _is_listed(subject: str, data: bytes) -> bool:
    try:
        return any(item.subject == subject for item in decode_list(data))
    except DataError:
        return False


def _is_named(subject: str, store: Store) -> bool:
    manifest = read_manifest(store)
    return manifest is not None and subject in manifest.subjects
