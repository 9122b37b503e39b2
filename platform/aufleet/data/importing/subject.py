"""What one task of an import does: read a subject, store the partition, then the receipt."""

import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass

from aufleet.data.importers.contract import Importer, SubjectPlan, Unusable
from aufleet.data.importing.receipts import Receipt, Receipts, digest_of_plan
from aufleet.data.publish import nothing_usable, store_subject
from aufleet.data.records import FrameRecord
from aufleet.errors import AufleetError, DataError

TICK_S = 0.5
"""A task says this often how far it is."""


@dataclass(frozen=True, kw_only=True)
class ImportJob:
    """What all tasks of an import share; travels to the workers."""

    importer: Importer
    receipts: Receipts
    num_units: int


@dataclass(frozen=True, kw_only=True)
class Tick:
    """How many frames of a subject were looked at so far."""

    subject: str
    num_frames: int


def read_subject(job: ImportJob, plan: SubjectPlan) -> Iterator[Tick | Receipt]:
    """Yield how far the work is, and at the end the receipt.

    In memory are the subject's rows with their pictures still encoded, their Parquet file while it
    is written (once more the same size), and one decoded frame.

    Raises:
        DataError: The source cannot be read, or the importer failed.
        StoreError: The partition cannot be stored.
    """
    records: list[FrameRecord] = []
    unusable: list[Unusable] = []
    said = time.monotonic()
    for found in _read(job.importer, plan):
        if isinstance(found, Unusable):
            unusable.append(found)
        else:
            records.append(found)
        if time.monotonic() - said > TICK_S:
            said = time.monotonic()
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
        try:
            for said in read_subject(job, pickle.loads(pickled)):
                yield _row(said)
        except AufleetError as error:
            # As a value: raised, it would come back as text inside a stack trace.
            yield _row(error)


def _row(said: Tick | Receipt | AufleetError) -> dict[str, list]:
    return {"said": [pickle.dumps(said)]}
