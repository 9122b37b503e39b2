"""Answers as JSON, JSON lines and CSV."""

import csv
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from aufleet.cli.predict_sources import Source

if TYPE_CHECKING:
    from aufleet.client import Face, FrameResult

LEADING = ("source", "time_s", "face", "status", "ungradable_reason", "message", "model", "version")
BOX = ("x", "y", "width", "height")
GRADES = ("normal", "low", "medium", "high")


def document_of(results: "list[FrameResult]") -> dict[str, Any]:
    """Return one document for all pictures: they were answered by the same model."""
    first = next((result for result in results if result.model), results[0])
    return {
        "model": first.model,
        "version": first.version,
        "request_id": first.request_id,
        "frames": [_frame_json(result) for result in results],
    }


def line_of(source: str, result: "FrameResult") -> str:
    """Return one frame's answer as a line of JSON, with who answered."""
    time = {} if result.time_s is None else {"time_s": result.time_s}
    who = {
        "model": result.model,
        "version": result.version,
        "request_id": result.request_id,
        "research_use_only": result.research_use_only,
    }
    return json.dumps({"source": source, **time, **_frame_json(result), **who}, ensure_ascii=False)


class CsvWriter:
    """A row for each face, and one for each frame without a face.

    The columns of units or grades are those of the first face that was judged; the rows before it
    wait for it.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._writer: csv.DictWriter[str] | None = None
        self._waiting: list[dict[str, Any]] = []

    def add(self, source: Source, result: "FrameResult") -> None:
        """Write the rows of a frame."""
        rows = list(_rows_of(source.name, result))
        self._waiting += rows
        judged = next((row for row in rows if len(row) > len(LEADING) + len(BOX)), None)
        if self._writer is None and judged is not None:
            self._begin(list(judged))
        self._flush()

    def close(self) -> None:
        """Write what still waits."""
        if self._writer is None:
            self._begin([*LEADING, *BOX])
        self._flush()

    def _begin(self, columns: list[str]) -> None:
        # Another model's columns, in a folder that two models answered, are left out.
        self._writer = csv.DictWriter(
            self._file, columns, extrasaction="ignore", lineterminator="\n"
        )
        self._writer.writeheader()

    def _flush(self) -> None:
        if self._writer is not None:
            self._writer.writerows(self._waiting)
            self._waiting = []
            self._file.flush()


def _rows_of(source: str, result: "FrameResult") -> Iterator[dict[str, Any]]:
    leading = {
        "source": source,
        "time_s": "" if result.time_s is None else round(result.time_s, 6),
        "face": "",
        "status": result.status,
        "ungradable_reason": result.ungradable_reason,
        "message": result.message,
        "model": result.model,
        "version": result.version,
    }
    if not result.faces:
        yield leading | dict.fromkeys(BOX, "")
    for number, face in enumerate(result.faces):
        own = {"face": number, "ungradable_reason": face.ungradable_reason}
        box = {name: round(getattr(face.box, name), 2) for name in BOX}
        yield leading | own | box | _numbers(face)


def _numbers(face: "Face") -> dict[str, Any]:
    if face.palsy:
        probabilities = {grade: round(face.palsy.probabilities[grade], 6) for grade in GRADES}
        side = {} if face.palsy.side is None else {"side": face.palsy.side}
        regions = {value.region: round(value.impairment, 6) for value in face.palsy.regions}
        return {"grade": face.palsy.grade, **probabilities, **side, **regions}
    return {
        name: value
        for score in face.units
        for name, value in (
            (f"AU{score.unit}", round(score.probability, 6)),
            (f"AU{score.unit}_active", int(score.active)),
        )
    }


def _frame_json(result: "FrameResult") -> dict[str, Any]:
    reason = {} if not result.ungradable_reason else {"ungradable_reason": result.ungradable_reason}
    message = {"message": result.message} if result.ungradable_reason else {}
    return {
        "status": result.status,
        **reason,
        **message,
        "faces": [_face_json(face) for face in result.faces],
    }


def _face_json(face: "Face") -> dict[str, Any]:
    answer: dict[str, Any] = {
        "box": [face.box.x, face.box.y, face.box.width, face.box.height],
        "landmarks": [list(point) for point in face.landmarks],
    }
    if face.ungradable_reason:
        answer["ungradable_reason"] = face.ungradable_reason
    if face.palsy:
        answer |= {"grade": face.palsy.grade, "probabilities": face.palsy.probabilities}
        if face.palsy.side is not None:
            answer["side"] = face.palsy.side
        if face.palsy.regions:
            answer["regions"] = {each.region: each.impairment for each in face.palsy.regions}
        return answer
    units = {
        f"AU{score.unit}": {
            "probability": score.probability,
            "threshold": score.threshold,
            "active": score.active,
        }
        for score in face.units
    }
    return answer | {"units": units}
