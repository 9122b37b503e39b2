"""`aufleet data synth`: render synthetic faces in this process and publish them."""

import json
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Literal

import typer

from aufleet.cli.data_progress import frames_bar
from aufleet.cli.data_summary import print_dataset
from aufleet.cli.output import errors

if TYPE_CHECKING:
    from aufleet.data.synthetic import SyntheticSettings
    from aufleet.storage import Store


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
    print_dataset(dataset, as_json=as_json)


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
    with (
        frames_bar("rendering", total=total) as advance,
        closing(render_in_parallel(settings)) as rendered,
    ):
        publish_dataset(rendered, spec=spec, store=store, progress=advance)
