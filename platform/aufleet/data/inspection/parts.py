"""Tables, bars and pictures of the inspection page, as HTML."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from aufleet.data.inspection.samples import Sample
from aufleet.data.records import ALIGNED_SIZE
from aufleet.domain.landmarks import POINTS_49_OF_68

_RADIUS = 1.5


def tiles(values: Mapping[str, str]) -> str:
    """Return big numbers with words below them."""
    cells = (
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in values.items()
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: set[int]) -> str:
    """Return a table; cells are HTML, `numbers` are the columns that are right-aligned."""
    heads = "".join(
        f'<th scope="col"{_aligned(column, numbers)}>{escape(name)}</th>'
        for column, name in enumerate(head)
    )
    lines = (
        "".join(f"<td{_aligned(column, numbers)}>{cell}</td>" for column, cell in enumerate(row))
        for row in rows
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _aligned(column: int, numbers: set[int]) -> str:
    return ' class="number"' if column in numbers else ""


def bar(share: float, *, warm: bool = False) -> str:
    """Return a bar that is filled up to a share of 0 to 1."""
    kind = "bar warm" if warm else "bar"
    return f'<span class="{kind}"><i style="width:{100 * share:.1f}%"></i></span>'


def steps(counts: Sequence[int], *, first: int) -> str:
    """Return a small histogram whose first column stands for `first`."""
    most = max(*counts, 1)
    bars = "".join(
        f'<i style="height:{100 * count / most:.0f}%" title="{level}: {count:,}"></i>'
        for level, count in enumerate(counts, start=first)
    )
    return f'<span class="steps">{bars}</span>'


def counts_card(title: str, counts: Mapping[str, int], *, warm: bool = False) -> str:
    """Return a card with a bar for each named count."""
    most = max([*counts.values(), 1])
    rows = (
        (escape(name), bar(count / most, warm=warm), f"{count:,}") for name, count in counts.items()
    )
    return f'<div class="card">{table((title, "", "frames"), rows, numbers={2})}</div>'


def heat_map(
    labels: Sequence[str],
    shares: Sequence[Sequence[float | None]],
    *,
    counts: Sequence[Sequence[int]],
) -> str:
    """Return a square of shares from 0 to 1: how often a column goes with a row.

    Args:
        labels: Of rows and columns.
        shares: None where nothing is known.
        counts: Frames behind each share, for the pointer.
    """
    head = "".join(f'<th scope="col">{escape(label)}</th>' for label in labels)
    rows = (
        f'<tr><th scope="row">{escape(row)}</th>'
        + "".join(
            _heat_cell(shares[i][j], title=f"{row} with {column}: {counts[i][j]:,}", same=i == j)
            for j, column in enumerate(labels)
        )
        + "</tr>"
        for i, row in enumerate(labels)
    )
    return (
        f'<table class="heat"><thead><tr><td class="self"></td>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _heat_cell(share: float | None, *, title: str, same: bool) -> str:
    if share is None or same:
        return '<td class="self">·</td>'
    kind = ' class="high"' if share > 0.78 else ""
    return f'<td{kind} style="--share:{share:.3f}" title="{escape(title)}">{100 * share:.0f}</td>'


def gallery(samples: Iterable[Sample]) -> str:
    """Return frames with their landmarks and labels; the pictures stand in the page itself."""
    return f'<div class="frames">{"".join(map(_figure, samples))}</div>'


def _figure(sample: Sample) -> str:
    data = base64.b64encode(sample.jpeg).decode()
    where = f"{sample.subject}, {sample.sequence}, frame {sample.frame}"
    chips = "".join(f'<span class="chip">{escape(label)}</span>' for label in sample.labels)
    chips = chips or '<span class="chip none">nothing active</span>'
    return (
        f'<figure><div class="face"><img src="data:image/jpeg;base64,{data}" '
        f'alt="{escape(where)}" width="{ALIGNED_SIZE}" height="{ALIGNED_SIZE}">{_points(sample)}'
        f"</div><figcaption><b>{escape(sample.subject)}</b> {escape(sample.sequence)} · "
        f'{sample.frame}<div class="chips">'
        f"{chips}</div></figcaption></figure>"
    )


def _points(sample: Sample) -> str:
    outer = [] if sample.landmarks_68 is None else sample.landmarks_68.tolist()
    inner_rows = set(POINTS_49_OF_68.tolist())
    circles = [
        _circle(point, kind="outer") for row, point in enumerate(outer) if row not in inner_rows
    ]
    circles += [_circle(point, kind="inner") for point in sample.landmarks.tolist()]
    box = f"0 0 {ALIGNED_SIZE} {ALIGNED_SIZE}"
    return f'<svg viewBox="{box}" aria-hidden="true">{"".join(circles)}</svg>'


def _circle(point: Sequence[float], *, kind: str) -> str:
    # A pixel's number names its middle; the picture begins half a pixel before the first.
    x, y = (value + 0.5 for value in point)
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}"/>'
