"""Reading a whole source, and counting that nothing disappears."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aufleet.data.importers import IMPORTERS, Importer, SubjectPlan, Unusable
from aufleet.data.records import FrameRecord


@dataclass
class Imported:
    """All that came out of a source."""

    importer: Importer
    plans: Sequence[SubjectPlan]
    records: list[FrameRecord] = field(default_factory=list)
    unusable: list[Unusable] = field(default_factory=list)

    @property
    def num_frames(self) -> int:
        return len(self.records) + sum(item.count for item in self.unusable)

    @property
    def reasons(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for item in self.unusable:
            counts[item.reason] += item.count
        return dict(counts)

    def of(self, subject: str, sequence: str | None = None) -> list[FrameRecord]:
        return [
            record
            for record in self.records
            if record.subject == subject and sequence in (None, record.sequence)
        ]


ImportAll = Callable[..., Imported]


@pytest.fixture(scope="session")
def import_all() -> ImportAll:
    """Plan and read everything, in this process."""

    def run(name: str, source: Path | str, **options: str) -> Imported:
        importer = IMPORTERS[name](str(source), **options)
        plans, unusable = importer.plan()
        imported = Imported(importer, plans, unusable=list(unusable))
        for plan in plans:
            for item in importer.read(plan):
                (imported.unusable if isinstance(item, Unusable) else imported.records).append(item)
        return imported

    return run
