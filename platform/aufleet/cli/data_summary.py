"""What a data set holds, as JSON for programs and as tables for people."""

from typing import TYPE_CHECKING, Any

from aufleet.cli.output import console, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from aufleet.data.dataset import Dataset

RATE_BAR_WIDTH = 24
PARTS = ("train", "validation", "test")


def print_dataset(dataset: "Dataset", *, as_json: bool) -> None:
    """Write it to standard output."""
    if as_json:
        print_json(summary(dataset))
    else:
        _show(dataset)


def summary(dataset: "Dataset") -> dict[str, Any]:
    """Return what stands in the manifest, counted; no partition is read."""
    manifest = dataset.manifest
    listed = manifest.unusable_list
    return {
        "uri": dataset.uri,
        "digest": manifest.digest,
        "source": manifest.source,
        "replaces": manifest.replaces,
        "subjects": len(manifest.partitions),
        "frames": manifest.num_frames,
        "size_bytes": sum(partition.size_bytes for partition in manifest.partitions),
        "units": list(manifest.unit_labels),
        "positive_rates": manifest.positive_rates,
        "missing_labels": _missing_labels(dataset),
        "grades": manifest.grade_counts,
        "folds": {
            str(fold.number): fold.model_dump(mode="json", exclude={"number"})
            for fold in manifest.folds
        },
        "unusable": manifest.unusable,
        "unusable_list": dataset.store.uri_of(listed.key) if listed else None,
    }


def _missing_labels(dataset: "Dataset") -> dict[str, int] | None:
    """Return unit -> frames in which nobody coded it; None where the manifest does not tell."""
    manifest = dataset.manifest
    if manifest.coded_frames is None:
        return None
    return {label: manifest.num_frames - coded for label, coded in manifest.coded_frames.items()}


def _show(dataset: "Dataset") -> None:
    from rich.markup import escape

    facts = summary(dataset)
    console.print(f"[bold]{escape(facts['uri'])}[/]", soft_wrap=True)
    console.print(
        f"{facts['subjects']} subjects, {facts['frames']:,} frames, "
        f"{facts['size_bytes'] / 1e6:.1f} MB"
    )
    console.print(f"[dim]{escape(facts['source'])}[/]", soft_wrap=True)
    if facts["units"]:
        console.print(_units_table(facts))
    if set(facts["grades"]) != {"not graded"}:
        grades = (f"{grade} {count:,}" for grade, count in facts["grades"].items())
        console.print(f"grades    {', '.join(grades)}")
    console.print(_folds_table(dataset))
    for reason, count in facts["unusable"].items():
        console.print(f"[yellow]not used[/]  {count:,} frames: {escape(reason)}", soft_wrap=True)
    if facts["unusable_list"]:
        console.print(f"[dim]each of them in {escape(facts['unusable_list'])}[/]", soft_wrap=True)


def _units_table(facts: dict[str, Any]) -> "Table":
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("unit", "active", "", "not coded"):
        table.add_column(column, justify="right" if column in ("active", "not coded") else "left")
    missing = facts["missing_labels"]
    for label in facts["units"]:
        rate = facts["positive_rates"].get(label)
        table.add_row(
            label,
            "never coded" if rate is None else f"{rate:.1%}",
            "▇" * round(RATE_BAR_WIDTH * (rate or 0)),
            "not recorded" if missing is None else f"{missing[label]:,}",
        )
    return table


def _folds_table(dataset: "Dataset") -> "Table":
    from rich.table import Table

    frames = {entry.subject: entry.num_frames for entry in dataset.manifest.partitions}
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("fold")
    for part in PARTS:
        table.add_column(part, justify="right")
    for fold in dataset.manifest.folds:
        subjects = {part: getattr(fold, part) for part in PARTS}
        table.add_row(
            str(fold.number),
            *(
                f"{len(names)} subjects, {sum(map(frames.__getitem__, names)):,} frames"
                for names in subjects.values()
            ),
        )
    return table
