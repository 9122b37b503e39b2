"""The inspection page: one HTML file that opens anywhere, also without a network."""

from html import escape
from pathlib import Path

import aufleet
from aufleet.data.dataset import Dataset
from aufleet.data.html_page import html_page
from aufleet.data.inspection import parts
from aufleet.data.inspection.facts import DatasetFacts
from aufleet.domain.action_units import NAMES, label_of

PARTS = ("train", "validation", "test")
SOURCES = {"exact": "the renderer", "release": "the release", "mediapipe": "MediaPipe"}
"""A record's landmark source in words."""


def render_page(dataset: Dataset, facts: DatasetFacts) -> str:
    """Return the page of a data set."""
    manifest = dataset.manifest
    title = f"{manifest.name} {manifest.version}"
    sections = (
        _header(dataset, facts),
        _frames(facts),
        _units(dataset, facts),
        _together(dataset, facts),
        _palsy(facts),
        _folds(dataset, facts),
        _subjects(dataset, facts),
        _unusable(dataset),
    )
    style = Path(__file__).with_name("page.css").read_text()
    return html_page(title, style=style, body=f"{''.join(sections)}{_footer(dataset)}")


def _header(dataset: Dataset, facts: DatasetFacts) -> str:
    manifest = dataset.manifest
    size_bytes = sum(partition.size_bytes for partition in manifest.partitions)
    numbers = {
        "subjects": f"{len(facts.active_by_subject):,}",
        "frames": f"{facts.num_frames:,}",
        "videos or tasks": f"{facts.sequences:,}",
        "action units": f"{len(manifest.units)}",
        "in the store": _size(size_bytes),
        "frames not used": f"{sum(manifest.unusable.values()):,}",
    }
    replaces = (
        f"<p>Stands in for version {escape(manifest.replaces)}, without a subject who withdrew.</p>"
        if manifest.replaces
        else ""
    )
    return (
        f"<header><h1>{escape(manifest.name)} "
        f"<small>version {escape(manifest.version)}</small></h1>"
        f"<p><code>{escape(dataset.uri)}</code></p><p>From {escape(manifest.source)}.</p>"
        f"{replaces}{parts.tiles(numbers)}"
        '<p class="note">This page shows faces of subjects. Keep it where the data set itself '
        "may lie.</p></header>"
    )


def _frames(facts: DatasetFacts) -> str:
    sources = " and ".join(
        f"{SOURCES[name]} ({count:,})" for name, count in sorted(facts.landmark_sources.items())
    )
    jaw = f"; {facts.with_68_points:,} frames have 68" if facts.with_68_points else ""
    return _section(
        "Frames",
        "Aligned to 200 by 200 pixels, chosen to show as many different labels as possible.",
        '<label class="switch"><input type="checkbox" id="points" checked> landmarks '
        f"(49 points from {escape(sources)}{jaw})</label>{parts.gallery(facts.samples)}",
    )


def _units(dataset: Dataset, facts: DatasetFacts) -> str:
    if not dataset.manifest.units:
        return ""
    has_intensities = bool(facts.intensities.sum())
    rows = []
    for column, unit in enumerate(dataset.manifest.units):
        active, coded = int(facts.active[column]), int(facts.coded[column])
        rows.append(
            (
                f"<b>{label_of(unit)}</b>",
                escape(NAMES.get(unit, "")),
                parts.bar(active / coded if coded else 0),
                f"{active / coded:.1%}" if coded else "never coded",
                f"{active:,}",
                f"{facts.num_frames - coded:,}",
                *(
                    [parts.steps(facts.intensities[column].tolist()[1:], first=1)]
                    if has_intensities
                    else []
                ),
            )
        )
    head = ("unit", "", "active", "", "frames", "not coded")
    head += ("intensity 1 to 5",) if has_intensities else ()
    return _section(
        "Action units",
        "How often each is active in the frames in which it was coded.",
        f'<div class="card">{parts.table(head, rows, numbers={3, 4, 5})}</div>',
    )


def _together(dataset: Dataset, facts: DatasetFacts) -> str:
    size = len(dataset.manifest.units)
    if not size:
        return ""
    together, coded = facts.together.tolist(), facts.coded_together.tolist()
    shares = [
        [together[i][j] / coded[i][j] if coded[i][j] else None for j in range(size)]
        for i in range(size)
    ]
    square = parts.heat_map(dataset.manifest.unit_labels, shares, counts=together)
    return _section(
        "Together",
        "Of the frames in which the row's unit is active, the percentage in which the column's is "
        "active too.",
        f'<div class="card">{square}</div>',
    )


def _palsy(facts: DatasetFacts) -> str:
    if not facts.grades:
        return ""
    cards = [
        parts.counts_card(title, dict(sorted(counts.items())))
        for title, counts in (
            ("grade", facts.grades),
            ("affected side", facts.sides),
            ("exercise", facts.exercises),
        )
        if counts
    ]
    return _section(
        "Palsy",
        "Grades after House and Brackmann: normal 1, low 2, medium 3 and 4, high 5 and 6. Sides "
        "are the patient's own.",
        f'<div class="columns">{"".join(cards)}</div>',
    )


def _folds(dataset: Dataset, facts: DatasetFacts) -> str:
    frames = {entry.subject: entry.num_frames for entry in dataset.manifest.partitions}
    rows, lists = [], []
    for fold in dataset.manifest.folds:
        names = {part: getattr(fold, part) for part in PARTS}
        rows.append(
            (
                f"<b>{fold.number}</b>",
                *(
                    f"{len(subjects)} <span class='soft'>subjects,</span> "
                    f"{sum(frames[one] for one in subjects):,} <span class='soft'>frames</span>"
                    for subjects in names.values()
                ),
            )
        )
        lists += [
            (f"{fold.number} {part}", escape(", ".join(subjects)))
            for part, subjects in names.items()
        ]
    who = parts.table(("fold and part", "subjects"), lists, numbers=set())
    return _section(
        "Folds",
        "No subject stands in two parts of a fold.",
        f'<div class="card">{parts.table(("fold", *PARTS), rows, numbers=set())}</div>'
        f"{_balance(dataset, facts)}"
        f'<details><summary>who is where</summary><div class="card">{who}</div></details>',
    )


def _balance(dataset: Dataset, facts: DatasetFacts) -> str:
    """Return how often each unit is active in the test parts, which share no subject."""
    rows = []
    for column, label in enumerate(dataset.manifest.unit_labels):
        cells = []
        for fold in dataset.manifest.folds:
            known = [
                facts.active_by_subject[one] for one in fold.test if one in facts.active_by_subject
            ]
            active = sum(int(hits[column]) for hits, _ in known)
            coded = sum(int(seen[column]) for _, seen in known)
            share = active / coded if coded else 0
            cells += [parts.bar(share), f"{share:.1%}" if coded else "never coded"]
        rows.append((f"<b>{label}</b>", *cells))
    head = ["unit"]
    for fold in dataset.manifest.folds:
        head += [f"test of fold {fold.number}", ""]
    if not rows:
        return ""
    return (
        "<details open><summary>how often each unit is active in the three test parts</summary>"
        f'<div class="card">{parts.table(head, rows, numbers={2, 4, 6})}</div></details>'
    )


def _subjects(dataset: Dataset, facts: DatasetFacts) -> str:
    counts = {
        entry.subject: entry.num_frames
        for entry in dataset.manifest.partitions
        if entry.subject in facts.active_by_subject
    }
    gone = len(dataset.manifest.partitions) - len(counts)
    words = f"Withdrew and were deleted from this version: {gone}." if gone else ""
    card = parts.counts_card("subject", counts)
    return _section(
        "Subjects",
        words or "How many frames each has.",
        f"<details><summary>{len(counts)} subjects</summary>{card}</details>",
    )


def _unusable(dataset: Dataset) -> str:
    manifest = dataset.manifest
    if not manifest.unusable:
        return _section("Not used", "Every frame of the source could be used.", "")
    listed = manifest.unusable_list
    where = (
        f"<p>Each of them stands in <code>{escape(dataset.store.uri_of(listed.key))}</code>.</p>"
        if listed
        else ""
    )
    ordered = dict(sorted(manifest.unusable.items(), key=lambda item: -item[1]))
    return _section(
        "Not used",
        "Frames of the source that are not in the data set, by reason.",
        f"{parts.counts_card('reason', ordered, warm=True)}{where}",
    )


def _section(title: str, words: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p>{escape(words)}</p>{content}</section>"


def _footer(dataset: Dataset) -> str:
    return (
        f"<footer>aufleet {escape(aufleet.__version__)} · digest <code>{dataset.manifest.digest}"
        "</code> · research use only, not a medical device</footer>"
    )


def _size(size_bytes: int) -> str:
    size, unit = float(size_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.1f} {unit}" if unit != "B" else f"{size_bytes} B"
