"""`aufleet data import`: a raw release or a lab's own frames become a data set."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from aufleet.cli.data_progress import import_bar
from aufleet.cli.data_summary import print_dataset
from aufleet.cli.output import errors
from aufleet.cli.train import INTERRUPTED, parse_settings
from aufleet.errors import ConfigError

if TYPE_CHECKING:
    # Typer's own copy of click.
    from typer._click.core import Context
    from typer._click.formatting import HelpFormatter

    from aufleet.data.importers import Importer
    from aufleet.data.publish import DatasetSpec
    from aufleet.storage import Store

_SETTINGS = typer.Option(
    None, "--set", metavar="KEY=VALUE", help="Any other option of the importer; repeatable."
)


class ImportHelp(TyperCommand):
    """Also describes the tables that importers read; their words stand beside their columns."""

    def format_help(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Write the help, then the columns."""
        from aufleet.data.importers import FOLDER_COLUMNS, FPARA_COLUMNS

        super().format_help(ctx, formatter)
        formatter.write(f"The table of folder. {FOLDER_COLUMNS}\n\n")
        formatter.write(f"The table of fpara. {FPARA_COLUMNS}\n")


def import_command(
    name: str = typer.Argument(help="Importer: bp4d, disfa, fpara, folder or synthetic."),
    source: str = typer.Argument(help="Folder or s3:// URI; synthetic: a preset."),
    to: str = typer.Option(
        ..., "--to", help="s3://.../datasets/NAME/VERSION, a folder so called, or NAME/VERSION."
    ),
    crop: str = typer.Option("", "--crop", help="lpnet: also store LP-Net's masked 240-px crop."),
    landmarks: str = typer.Option(
        "", "--landmarks", help="mediapipe: leave the release's landmarks aside (bp4d, disfa)."
    ),
    labels: str = typer.Option(
        "", "--labels", help="Table below SOURCE (folder: labels.csv, fpara: examinations.csv)."
    ),
    subjects: int | None = typer.Option(None, "--subjects", min=6, help="synthetic: how many."),
    frames: int | None = typer.Option(None, "--frames", min=1, help="synthetic: of each subject."),
    seed: int = typer.Option(0, "--seed", min=0, help="Decides folds that are not fixed."),
    settings: list[str] | None = _SETTINGS,
    parallelism: int | None = typer.Option(
        None, "--parallelism", min=1, help="Subjects read at once; default: one per CPU."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Import a source as a data set; the same command goes on where it was stopped.

    Subjects are read in parallel, on this machine or on the cluster that RAY_ADDRESS names; SOURCE
    and the store must then be visible from every node. Frames that cannot be used are counted by
    reason and listed.

    Example: aufleet data import disfa s3://raw/DISFA --to s3://lab/datasets/disfa/1
    """
    from aufleet.data.dataset import open_dataset
    from aufleet.data.importers import IMPORTERS
    from aufleet.data.publish import DatasetSpec

    factory = IMPORTERS.get(name)
    if factory is None:
        raise ConfigError(f"there is no importer {name!r}", f"there are {', '.join(IMPORTERS)}")
    given = {
        "crop": crop,
        "landmarks": landmarks,
        "labels": labels,
        "subjects": subjects,
        "frames": frames,
    }
    options = {key: value for key, value in given.items() if value} | parse_settings(settings or [])
    importer = _build(factory, source, name=name, options=options, seed=seed)
    root, dataset_name, version = _target(to)
    spec = DatasetSpec(name=dataset_name, version=version, seed=seed)
    _import(importer, spec=spec, root=root, parallelism=parallelism)
    print_dataset(open_dataset(root.uri_of(spec.prefix)), as_json=as_json)


def _build(
    factory: Callable[..., "Importer"],
    source: str,
    *,
    name: str,
    options: dict[str, Any],
    seed: int,
) -> "Importer":
    """Return the importer with the options that it has.

    Raises:
        ConfigError: It lacks one of them.
    """
    known = set(list(inspect.signature(factory).parameters)[1:])
    if unknown := sorted(set(options) - known):
        has = ", ".join(sorted(known)) or "none"
        raise ConfigError(f"importer {name} has no option {unknown[0]}", f"its options: {has}")
    return factory(source, **options, **({"seed": seed} if "seed" in known else {}))


def _target(to: str) -> tuple["Store", str, str]:
    """Return the root, the name and the version that `--to` names.

    Raises:
        ConfigError: It is no place for a data set.
    """
    from aufleet.data.dataset import resolve_uri
    from aufleet.storage import open_store

    parts = open_store(resolve_uri(to)).uri.split("/")
    if len(parts) < 4 or parts[-3] != "datasets":
        raise ConfigError(
            f"--to {to} is no place for a data set",
            "write s3://bucket/prefix/datasets/NAME/VERSION, or NAME/VERSION",
        )
    return open_store("/".join(parts[:-3])), parts[-2], parts[-1]


def _import(
    importer: "Importer", *, spec: "DatasetSpec", root: "Store", parallelism: int | None
) -> None:
    from aufleet.cli.orphans import no_orphans
    from aufleet.cli.ray_session import ray_session
    from aufleet.data.importing import plan_import, run_import

    with errors.status("looking at the source"):
        planned = plan_import(importer, spec=spec, store=root)
    if planned.published:
        errors.print(
            f"[dim]{planned.target.uri} is published already and nothing was read; where the "
            "source has changed, choose another version[/]",
            soft_wrap=True,
        )
        return
    try:
        with no_orphans(), import_bar() as show, ray_session(num_cpus=parallelism):
            run_import(planned, parallelism=parallelism, progress=show)
    except KeyboardInterrupt:
        errors.print("stopped; the same command goes on with the subjects that are left")
        raise typer.Exit(INTERRUPTED) from None
