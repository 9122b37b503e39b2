"""Publishing a data set: partitions under their digests first, the manifest last and only once."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aufleet.data.manifest import (
    MANIFEST_KEY,
    NAME_PATTERN,
    UNGRADED,
    FoldSubjects,
    Manifest,
    Partition,
)
from aufleet.data.partition import encode_partition
from aufleet.data.records import FrameRecord
from aufleet.domain.action_units import label_of
from aufleet.domain.folds import split_by_subject
from aufleet.domain.palsy import NOT_GRADED, Grade
from aufleet.errors import AlreadyExistsError, ConfigError, DataError
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
    units: tuple[int, ...]
    """Order of the unit labels in every record."""
    source: str
    """Which importer makes it, and from what."""
    seed: int
    """Decides the folds."""
    num_validation: int = 1
    """Subjects held out of each of the two training parts of a fold."""
    parts: tuple[tuple[str, ...], ...] | None = None
    """The three parts where a protocol fixes them."""

    def __post_init__(self) -> None:
        """Refuse a name that cannot stand in a key."""
        for name in (self.name, self.version):
            if not re.fullmatch(NAME_PATTERN, name):
                raise ConfigError(f"{name!r} cannot name a data set or its version", _NAMING)


def publish_dataset(
    subjects: Iterable[tuple[str, Sequence[FrameRecord]]],
    *,
    spec: DatasetSpec,
    store: Store,
    unusable: Mapping[str, int] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Publish a data set as `<store>/datasets/<name>/<version>` and return its manifest.

    One subject is in memory at a time. Nothing is visible before the manifest is written; of two
    writers of one version one wins whole. Publishing the same content again changes nothing.

    Args:
        subjects: Each subject once, with its frames; may be produced as it is read.
        spec: Name, version, units, split.
        store: The root of everything.
        unusable: Reason -> frames that could not be used; read after the last subject, so that the
            producer may count while it yields.
        progress: Called with the number of frames of each subject when they are stored.

    Raises:
        AlreadyExistsError: The version exists with other content.
        ConfigError: Too few subjects for three folds.
        DataError: A subject comes twice, or a record does not belong where it stands.
    """
    target = store.child(f"datasets/{spec.name}/{spec.version}")
    tally = _Tally(num_units=len(spec.units))
    partitions: dict[str, Partition] = {}
    for subject, records in subjects:
        if subject in partitions:
            raise DataError(f"subject {subject} comes twice", "give all its frames at once")
        if not re.fullmatch(NAME_PATTERN, subject):
            raise DataError(f"{subject!r} cannot name a subject", _NAMING)
        if not records:
            tally.unusable[NO_FRAMES] += 1
            continue
        tally.add(subject, records)
        partitions[subject] = _write_partition(subject, records, spec=spec, target=target)
        if progress:
            progress(len(records))
    tally.unusable.update(unusable or {})
    return _write_manifest(_manifest(spec, partitions, tally), target=target)


@dataclass(frozen=True, kw_only=True)
class _Tally:
    """What is counted while the subjects pass by."""

    num_units: int
    active: Counter[int] = field(default_factory=Counter)
    coded: Counter[int] = field(default_factory=Counter)
    grades: Counter[str] = field(default_factory=Counter)
    unusable: Counter[str] = field(default_factory=Counter)
    strata: dict[str, str] = field(default_factory=dict)
    """Subject -> worst grade and side, so that each part of the split gets its share."""

    def add(self, subject: str, records: Sequence[FrameRecord]) -> None:
        for record in records:
            if record.subject != subject:
                raise DataError(f"{record.where} stands among the frames of {subject}")
            for column, label in enumerate(record.units):
                self.active[column] += label == 1
                self.coded[column] += label in (0, 1)
            self.grades[_grade_label(record.grade)] += 1
        graded = [record for record in records if record.grade != NOT_GRADED]
        worst = max(graded, key=lambda record: record.grade, default=None)
        self.strata[subject] = f"{_grade_label(worst.grade)} {worst.side}" if worst else UNGRADED


def _grade_label(grade: int) -> str:
    return UNGRADED if grade == NOT_GRADED else Grade(grade).label


def _write_partition(
    subject: str, records: Sequence[FrameRecord], *, spec: DatasetSpec, target: Store
) -> Partition:
    data = encode_partition(records, num_units=len(spec.units))
    digest = sha256_of(data)
    partition = Partition(
        subject=subject,
        key=f"subject={subject}/{digest}.parquet",
        sha256=digest,
        size_bytes=len(data),
        num_frames=len(records),
    )
    target.write(partition.key, data)
    return partition


def _manifest(spec: DatasetSpec, partitions: Mapping[str, Partition], tally: _Tally) -> Manifest:
    folds = split_by_subject(
        tally.strata, seed=spec.seed, num_validation=spec.num_validation, parts=spec.parts
    )
    return Manifest(
        name=spec.name,
        version=spec.version,
        source=spec.source,
        seed=spec.seed,
        units=spec.units,
        partitions=tuple(partitions[subject] for subject in sorted(partitions)),
        folds=tuple(
            FoldSubjects(
                number=fold.number, train=fold.train, validation=fold.validation, test=fold.test
            )
            for fold in folds
        ),
        positive_rates={
            label_of(unit): tally.active[column] / tally.coded[column]
            for column, unit in enumerate(spec.units)
            if tally.coded[column]
        },
        grade_counts=dict(sorted(tally.grades.items())),
        unusable=dict(sorted(tally.unusable.items())),
    )


def _write_manifest(manifest: Manifest, *, target: Store) -> Manifest:
    data = manifest.to_bytes()
    try:
        target.write_new(MANIFEST_KEY, data)
    except AlreadyExistsError as error:
        if target.read(MANIFEST_KEY) != data:
            raise AlreadyExistsError(
                f"{target.uri} is already published with other content", "choose another version"
            ) from error
    return manifest
