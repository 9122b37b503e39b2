"""`aufleet data inspect`: what a data set holds, in the terminal and as a page."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from aufleet.cli.data_progress import frames_bar
from aufleet.cli.data_summary import print_dataset
from aufleet.cli.output import errors
from aufleet.errors import ConfigError

if TYPE_CHECKING:
    from aufleet.data.dataset import Dataset


def inspect_command(
    uri: str = typer.Argument(help="URI of a data set, or NAME/VERSION below the root."),
    html: Path | None = typer.Option(
        None, "--html", help="Also write one page with frames, landmarks and label statistics."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show what a data set holds: counts, units, how often each is active, folds, missing labels.

    The page of --html is one file that opens without a network. It shows faces: keep it where the
    data set itself may lie.

    Example: aufleet data inspect synthetic/1 --html synthetic.html
    """
    from aufleet.data.dataset import open_dataset

    dataset = open_dataset(uri)
    if html:
        _write_page(dataset, html)
    print_dataset(dataset, as_json=as_json)


def _write_page(dataset: "Dataset", file: Path) -> None:
    """Write the page whole or not at all.

    Raises:
        ConfigError: It cannot be written.
    """
    from aufleet.data.inspection import read_facts, render_page

    with frames_bar("reading", total=dataset.manifest.num_frames) as advance:
        facts = read_facts(dataset, progress=advance)
    unfinished = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished.touch(mode=0o600)
        unfinished.write_text(render_page(dataset, facts), encoding="utf-8")
        unfinished.replace(file)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise ConfigError(
            f"{file} cannot be written ({error.strerror})", "choose another --html"
        ) from error
    errors.print(f"[dim]{file} shows it; it holds faces of subjects[/]", soft_wrap=True)
