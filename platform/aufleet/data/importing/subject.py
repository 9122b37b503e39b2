"""What one task of an import does: read a subject, store the partition, then the receipt.

Where a process dies Ray Data repeats its task and skips as many rows as it has heard already: one
that says less the second time loses its last words, or ends Ray Data in an assertion. So how often
a task says something follows from its plans alone, not from clocks and not from what it finds.
"""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass

from aufleet.data.importers.contract import Importer, SubjectPlan, Unusable
from aufleet.data.importing.receipts import Receipt, Receipts, digest_of_plan
from aufleet.data.publish import nothing_usable, store_subject
from aufleet.data.records import FrameRecord
from aufleet.errors import AufleetError, DataError


@dataclass(frozen=True, kw_only=True)
class ImportJob:
    """What all tasks of an import share; travels to the workers."""

    importer: Importer
    receipts: Receipts
    num_units: int
    frames_per_tick: int
    """A task says how far it is once for so many frames of its plan."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """How many frames of a subject were looked at so far."""

    subject: str
    num_frames: int


def num_ticks(job: ImportJob, plan: SubjectPlan) -> int:
    """Return how often it is said how far a subject is."""
    return plan.num_frames // job.frames_per_tick


def read_subject(job: ImportJob, plan: SubjectPlan) -> Iterator[Tick | Receipt]:
    """Yield how far the work is, `num_ticks` times, and at the end the receipt.

    In memory are the subject's rows with their pictures still encoded, their Parquet file while it
    is written (once more the same size), and one decoded frame.

    Raises:
        DataError: The source cannot be read, or the importer failed.
        StoreError: The partition cannot be stored.
    """
    records: list[FrameRecord] = []
    unusable: list[Unusable] = []
    num_due = num_ticks(job, plan)
    num_said = 0
    for found in _read(job.importer, plan):
        if isinstance(found, Unusable):
            unusable.append(found)
        else:
            records.append(found)
        looked_at = _looked_at(records, unusable)
        while num_said < min(num_due, looked_at // job.frames_per_tick):
            num_said += 1
            yield Tick(subject=plan.subject, num_frames=looked_at)
    for _ in range(num_due - num_said):
        yield Tick(subject=plan.subject, num_frames=_looked_at(records, unusable))
    stored = None
    if records:
        stored = store_subject(
            plan.subject, records, num_units=job.num_units, target=job.receipts.target
        )
    else:
        unusable.append(nothing_usable(plan.subject))
    receipt = Receipt(
        plan=digest_of_plan(plan), subject=plan.subject, stored=stored, unusable=tuple(unusable)
    )
    job.receipts.write(receipt)
    yield receipt


def _read(importer: Importer, plan: SubjectPlan) -> Iterator[FrameRecord | Unusable]:
    """Yield what the importer yields; its faults become errors that name the subject."""
    import cv2

    cv2.setNumThreads(1)
    try:
        yield from importer.read(plan)
    except AufleetError:
        raise
    except Exception as error:
        raise DataError(
            f"importer {importer.name} failed at subject {plan.subject} "
            f"({type(error).__name__}: {error})",
            "what is finished stays; mend the source and repeat the command",
        ) from error


def _looked_at(records: list[FrameRecord], unusable: list[Unusable]) -> int:
    return len(records) + sum(item.count for item in unusable)


def task(batch: dict, *, job: ImportJob) -> Iterator[dict[str, list]]:
    """Read the subjects of a Ray Data batch and yield rows: one per tick, receipt or error."""
    for pickled in batch["plan"]:
        plan: SubjectPlan = pickle.loads(pickled)
        left = num_ticks(job, plan) + 1
        try:
            for said in read_subject(job, plan):
                left -= 1
                yield _row(said)
        except AufleetError as error:
            # As a value: raised, it would come back as text inside a stack trace.
            for _ in range(left):
                yield _row(error)


def _row(said: Tick | Receipt | AufleetError) -> dict[str, list]:
    return {"said": [pickle.dumps(said)]}
