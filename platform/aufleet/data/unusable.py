"""The table of frames that could not be used, as one CSV file: nothing disappears silently."""

import csv
import io
from collections import Counter
from collections.abc import Iterable

from aufleet.data.importers.contract import Unusable
from aufleet.data.manifest import ObjectReference
from aufleet.errors import DataError
from aufleet.storage import Store, sha256_of

COLUMNS = ("subject", "sequence", "frame", "count", "reason")


def count_by_reason(items: Iterable[Unusable]) -> dict[str, int]:
    """Return how many frames each reason cost, by reason in the alphabet's order."""
    counts: Counter[str] = Counter()
    for item in items:
        counts[item.reason] += item.count
    return dict(sorted(counts.items()))


def write_list(items: Iterable[Unusable], *, target: Store) -> ObjectReference | None:
    """Store the table under its digest; None where there is nothing to list."""
    data = encode_list(items)
    if data is None:
        return None
    digest = sha256_of(data)
    reference = ObjectReference(key=f"unusable/{digest}.csv", sha256=digest, size_bytes=len(data))
    target.write(reference.key, data)
    return reference


def encode_list(items: Iterable[Unusable]) -> bytes | None:
    """Return the table, the same bytes for the same items in any order; None where it is empty."""
    rows = sorted(
        (
            item.subject,
            item.sequence,
            -1 if item.frame is None else item.frame,
            item.count,
            item.reason,
        )
        for item in items
    )
    if not rows:
        return None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for subject, sequence, frame, count, reason in rows:
        writer.writerow((subject, sequence, "" if frame < 0 else frame, count, reason))
    return text.getvalue().encode()


def decode_list(data: bytes) -> list[Unusable]:
    """Return the items of a table.

    Raises:
        DataError: It is not one of ours.
    """
    try:
        return [
            Unusable(
                subject=row["subject"],
                sequence=row["sequence"],
                frame=int(row["frame"]) if row["frame"] else None,
                count=int(row["count"]),
                reason=row["reason"],
            )
            for row in csv.DictReader(io.StringIO(data.decode()))
        ]
    except (KeyError, ValueError, UnicodeDecodeError) as error:
        raise DataError(f"a list of unusable frames is not readable ({error})") from error
