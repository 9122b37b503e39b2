"""Answers as a person reads them: bars for a picture, a summary for a video."""

from collections import Counter
from typing import TYPE_CHECKING

from aufleet.cli.output import console
from aufleet.cli.predict_rows import face_rows

if TYPE_CHECKING:
    from aufleet.client import FrameResult

BAR_WIDTH = 24


def show(name: str, result: "FrameResult") -> None:
    """Print the answer of a picture."""
    from pathlib import Path

    milliseconds = f", {result.timings_ms.get('total', 0.0):.0f} ms" if result.timings_ms else ""
    _title(Path(name).name, result, note=milliseconds)
    if result.status != "OK":
        _line(f"  {_words(result.status, result.ungradable_reason)}  {result.message}")
    for number, face in enumerate(result.faces):
        if len(result.faces) > 1:
            reason = face.ungradable_reason
            words = f", {_words('UNGRADABLE', reason)}" if reason else ""
            _line(f"  face {number + 1}{words}")
        for row in face_rows(face):
            mark = "  active" if row.holds and not face.palsy else ""
            _bar(row.label, row.name, row.probability, holds=row.holds, note=mark)
        if face.palsy and face.palsy.side is not None:
            _line(f"  side    {face.palsy.side.replace('_', ' ')}")


class Summary:
    """What a video's frames say together."""

    def __init__(self, name: str) -> None:
        """Begin without a frame.

        Args:
            name: Of the video.
        """
        self.name = name
        self._statuses: Counter[str] = Counter()
        self._holds: Counter[tuple[str, str]] = Counter()
        self._order: dict[tuple[str, str], None] = {}
        self._last: FrameResult | None = None
        self._num_judged = 0

    def add(self, result: "FrameResult") -> None:
        """Count a frame."""
        self._last = result
        self._statuses[_words(result.status, result.ungradable_reason)] += 1
        judged = next((face for face in result.faces if face.units or face.palsy), None)
        if judged is None:
            return
        self._num_judged += 1
        for row in face_rows(judged):
            self._order[row.label, row.name] = None
            self._holds[row.label, row.name] += row.holds

    def show(self) -> None:
        """Print it."""
        from pathlib import Path

        if self._last is None:
            return
        _title(Path(self.name).name, self._last, note=f", {self._statuses.total()} frames")
        others = {status: count for status, count in self._statuses.items() if status != "ok"}
        for status, count in sorted(others.items()):
            _line(f"  {status}  {count} frames")
        if self._num_judged:
            _line(f"  share of the {self._num_judged} judged frames")
        for label, name in self._order:
            share = self._holds[label, name] / self._num_judged
            _bar(label, name, share, holds=share >= 0.5)


def _title(name: str, result: "FrameResult", *, note: str) -> None:
    from rich.markup import escape

    who = f"{result.model} version {result.version}{note}" if result.model else "not answered"
    console.print(f"[bold]{escape(name)}[/]  [dim]{escape(who)}[/]", soft_wrap=True)


def _bar(label: str, name: str, value: float, *, holds: bool, note: str = "") -> None:
    bar = "█" * round(value * BAR_WIDTH)
    colour = "cyan" if holds else "dim"
    console.print(
        f"  {label:<7} {name:<21}[{colour}]{bar:<{BAR_WIDTH}}[/] {value:4.2f}{note}",
        soft_wrap=True,
    )


def _line(words: str) -> None:
    console.print(words, soft_wrap=True, markup=False)


def _words(status: str, reason: str) -> str:
    words = status.lower().replace("_", " ")
    return f"{words} ({reason.lower()})" if reason else words
