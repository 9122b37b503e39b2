"""`aufleet models ablations`: the papers' ablation tables that come with the package."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from aufleet.cli.output import console, print_json
from aufleet.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from aufleet.tuning.experiment import Experiment
    from aufleet.tuning.rows import TableRow

_NAME = typer.Argument(None, help="A table: print its rows with the published F1.")


def command(
    name: str | None = _NAME,
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List the papers' ablation tables, each an experiment file, or show the rows of one.

    `aufleet tune ablation:NAME` runs a table again.

    Example: aufleet models ablations

    Example: aufleet models ablations algrnet-bp4d
    """
    if name is None:
        _list(as_json=as_json)
    else:
        _show(name, as_json=as_json)


def ablation_file(name: str) -> Path:
    """Return the file of a table that comes with the package.

    Raises:
        ConfigError: There is no such table.
    """
    files = {one.stem: one for one in _files()}
    if name not in files:
        raise ConfigError(f"there is no ablation table {name!r}", f"known are {', '.join(files)}")
    return files[name]


def _files() -> list[Path]:
    import aufleet.tuning

    return sorted((Path(aufleet.tuning.__file__).parent / "experiments/ablations").glob("*.yaml"))


def _list(*, as_json: bool) -> None:
    tables = [_summary(one) for one in _files()]
    if as_json:
        print_json(tables)
        return
    table = _table("name", "paper and table")
    table.add_column("rows", justify="right")
    table.add_column("trials", justify="right")
    table.add_column("needs")
    for one in tables:
        table.add_row(
            one["name"], one["paper"], str(one["rows"]), str(one["trials"]), "; ".join(one["needs"])
        )
    console.print(table)
    console.print("[dim]aufleet tune ablation:NAME --dataset URI runs a table[/]")


def _summary(file: Path) -> dict[str, Any]:
    from aufleet.tuning.experiment import read_experiment

    experiment = read_experiment(file)
    runs = [row for row in experiment.rows.values() if not row.left_out]
    return {
        "name": file.stem,
        "paper": experiment.paper,
        "task": experiment.task,
        "rows": len(experiment.rows),
        "trials": len(runs) * len(experiment.folds),
        "needs": _needs(experiment),
    }


def _needs(experiment: "Experiment") -> list[str]:
    """Return what has to be there first: the data, and what trials start from."""
    needs = [f"data set {experiment.dataset}"]
    settings = [experiment.fixed, *(row.settings for row in experiment.rows.values())]
    starts = [str((one.get("initialize_from") or {}).get("uri", "")) for one in settings]
    for uri in dict.fromkeys(starts):
        place, separator, _ = uri.partition("/rows/")
        if separator:
            needs.append(f"table {place.rpartition('/')[2].removeprefix('ablation-')}")
    return needs + [f"{name}: {what}" for name, what in experiment.inputs.items()]


def _show(name: str, *, as_json: bool) -> None:
    from aufleet.tuning.experiment import read_experiment

    experiment = read_experiment(ablation_file(name))
    rows = [_row(experiment, row, one) for row, one in experiment.rows.items()]
    if as_json:
        print_json({**_summary(ablation_file(name)), "rows": rows})
        return
    console.print(f"[bold]{name}[/]  {experiment.paper}")
    console.print(f"[dim]needs {'; '.join(_needs(experiment))}[/]")
    table = _table("row", "in the paper")
    table.add_column("F1, %", justify="right")
    table.add_column("parameters", justify="right")
    table.add_column("settings")
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    console.print("[dim]published macro F1 over the 3 folds; parameters at width 1.0[/]")


def _cells(row: dict[str, Any]) -> list[str]:
    from rich.markup import escape

    mean = row["published"].get("mean")
    settings = ", ".join(f"{key}={_short(value)}" for key, value in row["settings"].items())
    notes = [settings, row["note"], f"left out: {row['left_out']}" if row["left_out"] else ""]
    return [
        row["name"],
        escape(row["label"]),
        f"{mean:.1f}" if mean is not None else "-",
        f"{row['parameters']:,}" if row["parameters"] else "-",
        escape("; ".join(filter(None, notes))),
    ]


def _short(value: object) -> str:
    return str(value["uri"]) if isinstance(value, dict) and "uri" in value else str(value)


def _row(experiment: "Experiment", name: str, row: "TableRow") -> dict[str, Any]:
    model = row.model or experiment.models[0]
    return {
        "name": name,
        "label": row.label or name,
        "model": model,
        "settings": row.settings,
        "published": row.published,
        "parameters": None if row.left_out else _count(experiment, row, model=model),
        "note": row.note,
        "left_out": row.left_out,
    }


def _count(experiment: "Experiment", row: "TableRow", *, model: str) -> int:
    """Return the number of parameters, for the units of the data set of the paper."""
    import torch

    from aufleet.domain.action_units import BP4D_UNITS, DISFA_UNITS
    from aufleet.training.config import option_names
    from aufleet_models import build_model

    settings = experiment.fixed | row.settings
    options = {key: value for key, value in settings.items() if key in option_names(model)}
    units = DISFA_UNITS if experiment.dataset.startswith("disfa") else BP4D_UNITS
    with torch.device("meta"):
        network = build_model(
            model,
            task=experiment.task,
            units=units if experiment.task == "au" else None,
            **options,
        )
    return sum(one.numel() for one in network.parameters())


def _table(*titles: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in titles:
        table.add_column(title)
    return table
