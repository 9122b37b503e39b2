"""Receipts: what an import has finished, so that the same command goes on after a kill.

    <data set>/imports/<identity>/started.json        written again by each start
                                 /<subject>.json      written after the subject's partition

A receipt counts only for the same import, the same plan of its subject and a partition that is
still there. The receipts go when the manifest is written.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

import aufleet
from aufleet.data.importers.contract import Importer, SubjectPlan, Unusable
from aufleet.data.partition import SCHEMA
from aufleet.data.publish import StoredSubject
from aufleet.storage import Store, sha256_of

FOLDER = "imports"
_STARTED = "started.json"
_SHORT = 16


class Receipt(BaseModel):
    """What one task did: where a subject's frames lie, and which could not be used."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    plan: str
    """Digest of the plan that was read."""
    subject: str
    stored: StoredSubject | None
    """None where not one frame could be used."""
    unusable: tuple[Unusable, ...]

    @property
    def num_frames(self) -> int:
        """Frames that were stored."""
        return self.stored.partition.num_frames if self.stored else 0


@dataclass(frozen=True, kw_only=True)
class Receipts:
    """The receipts of one import, in the store of the data set that it makes."""

    target: Store
    identity: str

    def begin(self) -> None:
        """Say that this import runs now, so that nobody takes its partitions for orphans."""
        self.target.write(self._key(_STARTED), b"{}\n")

    def finished(self, plans: Iterable[SubjectPlan]) -> list[Receipt]:
        """Return the receipts of what need not be read again.

        One that is damaged or speaks of another plan or a vanished partition does not count.
        """
        there = set(self.target.keys())
        found = (self._read(plan) for plan in plans if self._key(_file_of(plan.subject)) in there)
        return [
            receipt
            for receipt in found
            if receipt and (not receipt.stored or receipt.stored.partition.key in there)
        ]

    def _read(self, plan: SubjectPlan) -> Receipt | None:
        try:
            receipt = parse_receipt(self.target.read(self._key(_file_of(plan.subject))))
        except ValidationError:
            return None
        return receipt if receipt.plan == digest_of_plan(plan) else None

    def write(self, receipt: Receipt) -> None:
        """Note that a subject is finished; the partition lies in the store already."""
        self.target.write(
            self._key(_file_of(receipt.subject)), receipt.model_dump_json().encode() + b"\n"
        )

    def delete(self) -> None:
        """Remove them all."""
        self.target.delete_below(f"{FOLDER}/{self.identity}")

    def _key(self, name: str) -> str:
        return f"{FOLDER}/{self.identity}/{name}"


def parse_receipt(data: bytes) -> Receipt:
    """Return the receipt in the bytes of its file.

    Raises:
        ValidationError: It is not one.
    """
    return Receipt.model_validate_json(data)


def identity_of(importer: Importer) -> str:
    """Return what tells one import from another: source, options, columns and this program.

    Frames that another version of the program aligned must not stand beside those of this one.
    """
    facts: Mapping[str, object] = {
        "importer": importer.name,
        "source": importer.describe(),
        "units": list(importer.units),
        "schema": str(SCHEMA),
        "aufleet": aufleet.__version__,
    }
    return sha256_of(json.dumps(facts, sort_keys=True).encode())[:_SHORT]


def digest_of_plan(plan: SubjectPlan) -> str:
    """Return a digest of what a task was asked to read."""
    return sha256_of(repr((plan.subject, plan.items)).encode())[:_SHORT]


def _file_of(subject: str) -> str:
    # A subject may be called "started".
    return f"subject={subject}.json"
