"""`aufleet data`: make data sets and look into them."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal

import typer

from aufleet.cli.output import console, errors, print_json

if TYPE_CHECKING:
    from aufleet.data.dataset import Dataset
    from aufleet.data.synthetic import SyntheticSettings
    from aufleet.storage import Store

app = typer.Typer(no_args_is_help=True, help="Make data sets and look into them.")

RATE_BAR_WIDTH = 24


@app.command("synth")
def synth_command(
    name: str = typer.Option("synthetic", "--name", help="Name of the data set."),
    version: str = typer.Option("1", "--version", help="A version is published once."),
    subjects: int = typer.Option(12, "--subjects", min=6, help="Faces; three folds share them."),
    frames: int = typer.Option(40, "--frames", min=1, help="Frames of each face."),
    seed: int = typer.Option(0, "--seed", min=0, help="Decides faces, labels and folds."),
    task: Literal["au", "palsy"] = typer.Option("au", "--task", help="palsy: graded faces."),
    units: str = typer.Option("", "--units", help="Units to code, as AU1,AU2."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Render synthetic faces with exact labels and publish them as a data set.

    Example: aufleet data synth --name faces --subjects 12 --frames 40
    """
    from aufleet.data.dataset import open_dataset
    from aufleet.storage import open_store, root_uri

    settings = _settings(subjects=subjects, frames=frames, seed=seed, task=task, units=units)
    store = open_store(root_uri())
    uri = store.uri_of(f"datasets/{name}/{version}")
    if _is_published(uri, settings):
        errors.print(f"[dim]{uri} is published already; nothing was rendered[/]", soft_wrap=True)
    else:
        _render(settings, name=name, version=version, store=store)
    dataset = open_dataset(uri)
    if as_json:
        print_json(_summary(dataset))
    else:
        _show(dataset)


@app.command("inspect")
def inspect_command(
    uri: str = typer.Argument(help="URI of a data set, or NAME/VERSION below the root."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show what a data set holds: counts, units, how often each is active, folds.

    Example: aufleet data inspect synthetic/1 --json
    """
    from aufleet.data.dataset import open_dataset

    dataset = open_dataset(uri)
    if as_json:
        print_json(_summary(dataset))
    else:
        _show(dataset)


def _settings(
    *, subjects: int, frames: int, seed: int, task: str, units: str
) -> "SyntheticSettings":
    from aufleet.data.synthetic import SyntheticSettings
    from aufleet.domain.action_units import parse_unit

    settings = SyntheticSettings(
        num_subjects=subjects, frames_per_subject=frames, seed=seed, palsy=task == "palsy"
    )
    return replace(settings, units=tuple(map(parse_unit, units.split(",")))) if units else settings


def _is_published(uri: str, settings: "SyntheticSettings") -> bool:
    """Tell whether the same settings were published there.

    Raises:
        AlreadyExistsError: Something else was.
    """
    from aufleet.data.dataset import open_dataset
    from aufleet.errors import AlreadyExistsError, ObjectMissingError

    try:
        source = open_dataset(uri).manifest.source
    except ObjectMissingError:
        return False
    if source != _source(settings):
        raise AlreadyExistsError(
            f"{uri} is already published from {source}", "choose another --name or --version"
        )
    return True


def _source(settings: "SyntheticSettings") -> str:
    return f"synthetic {json.dumps(asdict(settings), sort_keys=True)}"


def _render(settings: "SyntheticSettings", *, name: str, version: str, store: "Store") -> None:
    from aufleet.data.publish import DatasetSpec, publish_dataset
    from aufleet.data.rendering import render_in_parallel

    spec = DatasetSpec(
        name=name,
        version=version,
        units=settings.units,
        source=_source(settings),
        seed=settings.seed,
    )
    total = settings.num_subjects * settings.frames_per_subject
    # Closed here, so that Ctrl-C ends the rendering processes before anything else.
    with _progress(total) as advance, closing(render_in_parallel(settings)) as rendered:
        publish_dataset(rendered, spec=spec, store=store, progress=advance)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar with frames/s and the time left; give the function that moves it."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    began = time.monotonic()
    columns = (
        TextColumn("rendering"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} frames  {task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors) as bar:
        task = bar.add_task("rendering", total=total, rate=0.0)

        def advance(num_frames: int) -> None:
            bar.advance(task, num_frames)
            bar.update(task, rate=bar.tasks[task].completed / (time.monotonic() - began))

        yield advance


def _summary(dataset: "Dataset") -> dict[str, Any]:
    manifest = dataset.manifest
    return {
        "uri": dataset.uri,
        "digest": manifest.digest,
        "source": manifest.source,
        "subjects": len(manifest.partitions),
        "frames": manifest.num_frames,
        "size_bytes": sum(partition.size_bytes for partition in manifest.partitions),
        "units": list(manifest.unit_labels),
        "positive_rates": manifest.positive_rates,
        "grades": manifest.grade_counts,
        "folds": {
            str(fold.number): fold.model_dump(mode="json", exclude={"number"})
            for fold in manifest.folds
        },
        "unusable": manifest.unusable,
    }


def _show(dataset: "Dataset") -> None:
    summary = _summary(dataset)
    console.print(f"[bold]{summary['uri']}[/]", soft_wrap=True)
    console.print(
        f"{summary['subjects']} subjects, {summary['frames']:,} frames, "
        f"{summary['size_bytes'] / 1e6:.1f} MB"
    )
    console.print(_rates_table(summary))
    if set(summary["grades"]) != {"not graded"}:
        grades = (f"{grade} {count}" for grade, count in summary["grades"].items())
        console.print(f"grades    {', '.join(grades)}")
    for number, fold in summary["folds"].items():
        counts = ", ".join(f"{part} {len(subjects)}" for part, subjects in fold.items())
        console.print(f"fold {number}    {counts} subjects")
    for reason, count in summary["unusable"].items():
        console.print(f"[yellow]not used[/]  {count} frames: {reason}")


def _rates_table(summary: dict[str, Any]) -> Any:  # noqa: ANN401 - rich is imported inside
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("unit", "active", ""):
        table.add_column(column, justify="right" if column == "active" else "left")
    for label in summary["units"]:
        rate = summary["positive_rates"].get(label)
        shown = "not coded" if rate is None else f"{rate:.1%}"
        table.add_row(label, shown, "▇" * round(RATE_BAR_WIDTH * (rate or 0)))
    return table
