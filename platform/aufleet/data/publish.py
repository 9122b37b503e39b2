"""Publishing a data set: partitions under their digests first, the manifest last and only once."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from aufleet.data.importers.contract import Parts, Unusable
from aufleet.data.manifest import (
    MANIFEST_KEY,
    NAME_PATTERN,
    FoldSubjects,
    Manifest,
    Partition,
    parse_manifest,
)
from aufleet.data.partition import encode_partition
from aufleet.data.records import FrameRecord
from aufleet.data.tally import SubjectTally, tally_records
from aufleet.data.unusable import count_by_reason, write_list
from aufleet.domain.action_units import label_of
from aufleet.domain.folds import NUM_FOLDS, Fold, split_by_subject
from aufleet.errors import AlreadyExistsError, ConfigError, DataError, ObjectMissingError
from aufleet.storage import Store, sha256_of

NO_FRAMES = "subject without a usable frame"
_NAMING = "names are letters, digits, dot, dash and underscore, at most 100"


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """What a data set is called and how its subjects are split."""

    name: str
    """Letters, digits, dot, dash and underscore."""
    version: str
    """As the name; a version is published once."""
    units: tuple[int, ...] = ()
    """Order of the unit labels in every record; an import takes its importer's."""
    source: str = ""
    """Which importer makes it, and from what; an import takes its importer's words."""
    seed: int
    """Decides the folds."""
    num_validation: int = 1
    """Subjects held out of each of the two training parts of a fold."""
    parts: Parts | None = None
    """The three parts where a protocol fixes them; they may name subjects that are not there."""

    def __post_init__(self) -> None:
        """Refuse a name that cannot stand in a key."""
        for name in (self.name, self.version):
            if not re.fullmatch(NAME_PATTERN, name):
                raise ConfigError(f"{name!r} cannot name a data set or its version", _NAMING)

    @property
    def prefix(self) -> str:
        """Where it lies below the root."""
        return f"datasets/{self.name}/{self.version}"


class StoredSubject(BaseModel):
    """A subject's partition as it lies in the store, and what was counted in it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    partition: Partition
    tally: SubjectTally


def publish_dataset(
    subjects: Iterable[tuple[str, Sequence[FrameRecord]]],
    *,
    spec: DatasetSpec,
    store: Store,
    unusable: Iterable[Unusable] = (),
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Publish a data set as `<store>/datasets/<name>/<version>` and return its manifest.

    One subject is in memory at a time. Nothing is visible before the manifest is written; of two
    writers of one version one wins whole. Publishing the same content again changes nothing.

    Args:
        subjects: Each subject once, with its frames; may be produced as it is read.
        spec: Name, version, units, split.
        store: The root of everything.
        unusable: Frames that could not be used; read after the last subject, so that the producer
            may note them while it yields.
        progress: Called with the number of frames of each subject when they are stored.

    Raises:
        AlreadyExistsError: The version exists with other content.
        ConfigError: Too few subjects for three folds.
        DataError: A subject comes twice, or a record does not belong where it stands.
    """
    target = store.child(spec.prefix)
    stored: dict[str, StoredSubject] = {}
    without_frames: list[Unusable] = []
    for subject, records in subjects:
        if subject in stored:
            raise DataError(f"subject {subject} comes twice", "give all its frames at once")
        if not records:
            without_frames.append(nothing_usable(subject))
            continue
        stored[subject] = store_subject(subject, records, num_units=len(spec.units), target=target)
        if progress:
            progress(len(records))
    return publish_stored(
        stored.values(), spec=spec, target=target, unusable=[*without_frames, *unusable]
    )


def nothing_usable(subject: str) -> Unusable:
    """Return the entry of a subject who is left out."""
    return Unusable(subject=subject, sequence="", frame=None, reason=NO_FRAMES)


def store_subject(
    subject: str, records: Sequence[FrameRecord], *, num_units: int, target: Store
) -> StoredSubject:
    """Write a subject's partition under its digest; the same frames give the same object.

    Args:
        subject: Who.
        records: All of the subject's frames, at least one.
        num_units: Unit columns of the data set.
        target: The data set's own store.

    Raises:
        DataError: A record belongs to somebody else, or the name cannot stand in a key.
    """
    check_subject_name(subject)
    for record in records:
        if record.subject != subject:
            raise DataError(f"{record.where} stands among the frames of {subject}")
    data = encode_partition(records, num_units=num_units)
    partition = partition_of(subject, data, num_frames=len(records))
    target.write(partition.key, data)
    return StoredSubject(partition=partition, tally=tally_records(records, num_units=num_units))


def check_subject_name(subject: str) -> None:
    """Refuse a name that cannot stand in a key.

    Raises:
        DataError: As said.
    """
    if not re.fullmatch(NAME_PATTERN, subject):
        raise DataError(f"{subject!r} cannot name a subject", _NAMING)


def partition_of(subject: str, data: bytes, *, num_frames: int) -> Partition:
    """Return the entry of a partition's bytes."""
    digest = sha256_of(data)
    return Partition(
        subject=subject,
        key=f"subject={subject}/{digest}.parquet",
        sha256=digest,
        size_bytes=len(data),
        num_frames=num_frames,
    )


def check_split(subjects: Collection[str], *, spec: DatasetSpec) -> None:
    """Refuse subjects that cannot be split, before hours are spent on reading them.

    Raises:
        ConfigError: They are too few, for three folds or for one of the fixed parts.
        DataError: A subject stands in none of the fixed parts.
    """
    _split(dict.fromkeys(subjects, ""), spec=spec)


def publish_stored(
    stored: Iterable[StoredSubject],
    *,
    spec: DatasetSpec,
    target: Store,
    unusable: Iterable[Unusable],
) -> Manifest:
    """Write the manifest of partitions that lie in the store already, and return it.

    Raises:
        AlreadyExistsError: The version exists with other content.
        ConfigError: The subjects cannot be split.
    """
    ordered = sorted(stored, key=lambda one: one.partition.subject)
    items = list(unusable)
    strata = {one.partition.subject: one.tally.stratum for one in ordered}
    folds = _split(strata, spec=spec)
    manifest = Manifest(
        name=spec.name,
        version=spec.version,
        source=spec.source,
        seed=spec.seed,
        units=spec.units,
        partitions=tuple(one.partition for one in ordered),
        folds=tuple(
            FoldSubjects(
                number=fold.number, train=fold.train, validation=fold.validation, test=fold.test
            )
            for fold in folds
        ),
        **label_counts([one.tally for one in ordered], units=spec.units),
        unusable=count_by_reason(items),
        unusable_list=write_list(items, target=target),
    )
    return write_manifest(manifest, target=target)


def label_counts(tallies: Sequence[SubjectTally], *, units: Sequence[int]) -> dict:
    """Return the fields of a manifest that count labels."""
    active = [sum(tally.active[column] for tally in tallies) for column in range(len(units))]
    coded = [sum(tally.coded[column] for tally in tallies) for column in range(len(units))]
    grades: Counter[str] = Counter()
    for tally in tallies:
        grades.update(tally.grades)
    return {
        "positive_rates": {
            label_of(unit): hits / frames
            for unit, hits, frames in zip(units, active, coded, strict=True)
            if frames
        },
        "coded_frames": {label_of(unit): frames for unit, frames in zip(units, coded, strict=True)},
        "grade_counts": dict(sorted(grades.items())),
    }


def write_manifest(manifest: Manifest, *, target: Store) -> Manifest:
    """Make a version visible, once; the same content again changes nothing.

    Raises:
        AlreadyExistsError: The version exists with other content.
    """
    try:
        target.write_new(MANIFEST_KEY, manifest.to_bytes())
    except AlreadyExistsError as error:
        published = read_manifest(target)
        if published is None or not published.equals(manifest):
            raise AlreadyExistsError(
                f"{target.uri} is already published with other content", "choose another version"
            ) from error
        return published
    return manifest


def read_manifest(target: Store) -> Manifest | None:
    """Return the manifest of a data set's own store, None where nothing was published.

    Raises:
        ObjectCorruptError: It is damaged.
        DataError: It has a schema of another version.
    """
    try:
        data = target.read(MANIFEST_KEY)
    except ObjectMissingError:
        return None
    return parse_manifest(data, uri=target.uri_of(MANIFEST_KEY))


def _split(strata: dict[str, str], *, spec: DatasetSpec) -> tuple[Fold, ...]:
    parts = None if spec.parts is None else _parts_present(strata, spec=spec)
    return split_by_subject(strata, seed=spec.seed, num_validation=spec.num_validation, parts=parts)


def _parts_present(strata: dict[str, str], *, spec: DatasetSpec) -> list[list[str]]:
    """Return the fixed parts without the subjects that the data set lacks."""
    named = {subject for part in spec.parts or () for subject in part}
    if strangers := sorted(set(strata) - named):
        raise DataError(
            f"subject {strangers[0]} stands in none of the {NUM_FOLDS} fixed parts of {spec.name}",
            "leave the subject out, or give every subject a part",
        )
    parts = [[subject for subject in part if subject in strata] for part in spec.parts or ()]
    for number, part in enumerate(parts, start=1):
        if len(part) <= spec.num_validation:
            raise ConfigError(
                f"part {number} of the fixed folds has {len(part)} subjects",
                f"it needs {spec.num_validation} for validation and 1 more",
            )
    return parts
