"""What lies below `datasets/` and belongs to nothing: found here, deleted by `aufleet store gc`.

An object is an orphan only where that can be proved:

- in a published version, what its manifest does not name: a version never changes, so nobody will
  ever name it (the partitions of an importer that lost a race, receipts that were not removed);
- in a version that was never published, everything, once nothing was written there for longer than
  the age limit: a running import writes a receipt for each subject, and a start marks its folder.
"""

from dataclasses import dataclass

from aufleet.data.dataset import WITHDRAWN
from aufleet.data.importing.receipts import FOLDER as RECEIPTS
from aufleet.data.manifest import MANIFEST_KEY, Manifest
from aufleet.data.publish import read_manifest
from aufleet.storage import Store, StoredObject


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """An object that nothing names."""

    store: Store
    stored: StoredObject
    reason: str

    @property
    def uri(self) -> str:
        """Where it lies."""
        return self.store.uri_of(self.stored.key)


def dataset_versions(root: Store, *, name: str = "") -> list[Store]:
    """Return the store of every version of a data set, or of all; also of unpublished ones."""
    versions = {
        "/".join(folders[:3])
        for entry in root.entries(f"datasets/{name}/" if name else "datasets/")
        if len(folders := entry.key.split("/", 3)) == 4
    }
    return [root.child(version) for version in sorted(versions)]


def find_orphans(store: Store, *, before_s: float) -> list[Orphan]:
    """Return the orphans of one version, in the order in which they have to be deleted.

    Args:
        store: The data set's own store.
        before_s: Only what was written before this moment, seconds since 1970.

    Raises:
        AufleetError: The manifest cannot be read, so nothing can be proved.
    """
    # Listed first: a manifest that is written in between names what is listed.
    entries = store.entries()
    manifest = read_manifest(store)
    if manifest is None:
        return _abandoned(store, entries, before_s=before_s)
    named = _named(manifest)
    return [
        Orphan(store=store, stored=entry, reason="no manifest names it")
        for entry in entries
        if entry.key not in named
        and not entry.key.startswith(f"{WITHDRAWN}/")
        and entry.modified_s < before_s
    ]


def _named(manifest: Manifest) -> set[str]:
    named = {MANIFEST_KEY, *(partition.key for partition in manifest.partitions)}
    return named | {manifest.unusable_list.key} if manifest.unusable_list else named


def _abandoned(store: Store, entries: list[StoredObject], *, before_s: float) -> list[Orphan]:
    if any(entry.modified_s >= before_s for entry in entries):
        return []
    # Receipts first: were we stopped between the two, a receipt would speak of what is gone.
    ordered = sorted(entries, key=lambda entry: not entry.key.startswith(f"{RECEIPTS}/"))
    return [
        Orphan(store=store, stored=entry, reason="an import that was never finished")
        for entry in ordered
    ]
