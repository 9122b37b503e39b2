"""Figures as SVG: they scale, need no script, and take their colours from the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from aufleet.tuning.report.content import Curve

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 12, 30


@dataclass(frozen=True, kw_only=True)
class _Axis:
    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return self.start + share * (self.end - self.start)


def learning_curves(curves: Sequence[Curve], *, winner: str | None) -> str:
    """Return a figure of all configurations' curves, the winner's on top."""
    drawn = [one for one in curves if one.points]
    if not drawn:
        return '<p class="soft">No epoch has been reported yet.</p>'
    points = [point for one in drawn for point in one.points]
    x = _Axis(low=1, high=max(2, max(e for e, _ in points)), start=_LEFT, end=_WIDTH - _RIGHT)
    scores = [score for _, score in points]
    low, high = min(scores), max(scores)
    margin = max(0.01, 0.06 * (high - low))
    y = _Axis(low=max(0, low - margin), high=high + margin, start=_HEIGHT - _BOTTOM, end=_TOP)
    order = sorted(drawn, key=lambda one: (one.config_id == winner, one.status != "stopped"))
    lines = "".join(_curve(one, x=x, y=y, is_winner=one.config_id == winner) for one in order)
    return _svg(
        _grid(x, y) + lines, label="validation F1 over epochs", height=_HEIGHT, klass="curves"
    )


def _curve(one: Curve, *, x: _Axis, y: _Axis, is_winner: bool) -> str:
    path = " ".join(f"{x.at(epoch):.1f},{y.at(score):.1f}" for epoch, score in one.points)
    kind = "winner" if is_winner else "stopped" if one.status == "stopped" else "other"
    epoch, score = one.points[-1]
    title = f"<title>{escape(one.config_id)}: {score:.3f} at epoch {epoch}, {one.status}</title>"
    end = f'<circle cx="{x.at(epoch):.1f}" cy="{y.at(score):.1f}" r="{3 if is_winner else 2}"/>'
    return f'<g class="{kind}">{title}<polyline points="{path}"/>{end}</g>'


def _grid(x: _Axis, y: _Axis) -> str:
    parts = []
    for step in range(5):
        value = y.low + (y.high - y.low) * step / 4
        at = y.at(value)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )
        parts.append(f'<text class="end" x="{_LEFT - 7}" y="{at + 4:.1f}">{value:.2f}</text>')
    count = int(x.high)
    every = max(1, round(count / 8))
    for epoch in range(1, count + 1):
        if epoch == 1 or epoch % every == 0:
            parts.append(
                f'<text class="mid" x="{x.at(epoch):.1f}" y="{_HEIGHT - 9}">{epoch}</text>'
            )
    return "".join(parts)


def parallel_coordinates(
    points: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    *,
    keys: Sequence[str],
    name: str = "F1",
) -> str:
    """Return a figure with an axis for each setting and one for F1; lines are configurations."""
    height, top, bottom = 320, 34, 40
    names = [*keys, name]
    step = (_WIDTH - 130) / max(1, len(names) - 1)
    places = [65 + index * step for index in range(len(names))]
    columns = [[point.get(key) for point in points] for key in keys] + [list(scores)]
    axes = [_scale(column, start=height - bottom, end=top) for column in columns]
    low, high = min(scores), max(scores)
    lines = []
    for row in sorted(range(len(points)), key=lambda index: scores[index]):
        at = [
            f"{place:.1f},{axis.at(column[row]):.1f}"
            for place, axis, column in zip(places, axes, columns, strict=True)
            if column[row] is not None
        ]
        heat = (scores[row] - low) / (high - low) if high > low else 1.0
        lines.append(
            f'<polyline style="--heat:{100 * heat:.0f}%;--weight:{0.3 + 0.7 * heat:.2f}" '
            f'points="{" ".join(at)}"><title>F1 {scores[row]:.3f}</title></polyline>'
        )
    marks = "".join(
        _axis_marks(name, place, axis, top=top, bottom=height - bottom)
        for name, place, axis in zip(names, places, axes, strict=True)
    )
    return _svg("".join(lines) + marks, label="settings and F1", height=height, klass="parallel")


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Where the values of one setting stand."""

    marks: Sequence[tuple[str, float]]
    places: Mapping[Any, float]

    def at(self, value: Any) -> float:  # noqa: ANN401 - a setting may be anything
        return self.places[_hashable(value)]


def _scale(values: Sequence[Any], *, start: float, end: float) -> _Scale:
    """Return a scale: by number, by its logarithm over more than two powers of ten, or by name."""
    from math import log10

    known = [one for one in values if one is not None]
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in known)
    if numbers and len(set(known)) > 1:
        low, high = min(known), max(known)
        is_log = low > 0 and high / low > 30
        of = log10 if is_log else float
        axis = _Axis(low=of(low), high=of(high), start=start, end=end)
        places = {one: axis.at(of(one)) for one in known}
        marks = [(f"{one:.3g}", places[one]) for one in (low, high)]
        return _Scale(marks=marks, places=places)
    names = sorted({_hashable(one) for one in known}, key=str)
    axis = _Axis(low=0, high=max(1, len(names) - 1), start=start, end=end)
    places = {name: axis.at(index) for index, name in enumerate(names)}
    return _Scale(marks=[(str(name), at) for name, at in places.items()], places=places)


def _hashable(value: Any) -> Any:  # noqa: ANN401
    return value if isinstance(value, int | float | str | bool) else str(value)


def _axis_marks(name: str, place: float, axis: _Scale, *, top: float, bottom: float) -> str:
    texts = "".join(
        f'<text class="mid value" x="{place:.1f}" y="{at + (14 if at >= bottom else -6):.1f}">'
        f"{escape(_short(text))}</text>"
        for text, at in axis.marks
    )
    title = escape(_short(name, 16))
    return (
        f'<line class="axis" x1="{place:.1f}" x2="{place:.1f}" y1="{top}" y2="{bottom}"/>'
        f'<text class="mid name" x="{place:.1f}" y="{bottom + 32:.0f}">{title}</text>'
        f"{texts}"
    )


def _short(text: str, most: int = 12) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def strip(folds: Mapping[int, float], *, low: float, high: float, constant: float | None) -> str:
    """Return a small figure: a dot per fold, the mean, and the best constant answer."""
    axis = _Axis(low=low, high=high, start=6, end=154)
    mean = sum(folds.values()) / len(folds)
    dots = "".join(
        f'<circle cx="{axis.at(score):.1f}" cy="9" r="3">'
        f"<title>fold {fold}: {score:.3f}</title></circle>"
        for fold, score in sorted(folds.items())
    )
    base = ""
    if constant is not None:
        at = axis.at(max(low, constant))
        base = f'<line class="constant" x1="{at:.1f}" x2="{at:.1f}" y1="3" y2="15"/>'
    at = axis.at(mean)
    line = f'<line class="mean" x1="{at:.1f}" x2="{at:.1f}" y1="2" y2="16"/>'
    return (
        '<svg class="strip" viewBox="0 0 160 18" role="img" aria-label="folds">'
        f'<line class="track" x1="6" x2="154" y1="9" y2="9"/>{base}{dots}{line}</svg>'
    )


def bars(shares: Mapping[str, float]) -> str:
    """Return rows with a bar each, for shares between 0 and 1."""
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="wide"><span class="bar">'
        f'<i style="width:{100 * share:.1f}%"></i></span></td>'
        f'<td class="number">{100 * share:.0f} %</td></tr>'
        for name, share in shares.items()
    )
    return f'<table class="bars">{rows}</table>'


def _svg(inner: str, *, label: str, height: int, klass: str) -> str:
    return (
        f'<svg class="figure {klass}" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(label)}">{inner}</svg>'
    )
