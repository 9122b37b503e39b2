"""`aufleet models`: the networks of the catalog, what one sees, and which version was champion."""

from typing import Literal

import typer

from aufleet.cli import models_ablations, models_history, models_show
from aufleet.cli.output import console, print_json

app = typer.Typer(
    no_args_is_help=True, help="The networks of the catalog, and the models made from them."
)


app.command("show")(models_show.command)
app.command("ablations")(models_ablations.command)
app.command("history")(models_history.command)


@app.command("list")
def list_command(
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List the networks with their number of parameters at width 1.0.

    Example: aufleet models list
    """
    from rich.table import Table

    rows = [_row(name) for name in _names()]
    if as_json:
        print_json(rows)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("model")
    table.add_column("what it is")
    for column in ("AU, 12 units", "AU, 8 units", "palsy"):
        table.add_column(column, justify="right")
    for row in rows:
        counts = (row["parameters"][key] for key in ("au12", "au8", "palsy"))
        table.add_row(row["name"], row["summary"], *(f"{count:,}" for count in counts))
    console.print(table)
    console.print("[dim]trainable parameters at width 1.0 with the papers' settings[/]")


def _names() -> list[str]:
    from aufleet_models import list_models

    return list_models()


def _row(name: str) -> dict:
    from aufleet.domain.action_units import BP4D_UNITS, DISFA_UNITS
    from aufleet_models.catalog import CATALOG

    return {
        "name": name,
        "summary": CATALOG[name].summary,
        "parameters": {
            "au12": _count(name, task="au", units=BP4D_UNITS),
            "au8": _count(name, task="au", units=DISFA_UNITS),
            "palsy": _count(name, task="palsy", units=None),
        },
    }


def _count(name: str, *, task: Literal["au", "palsy"], units: tuple[int, ...] | None) -> int:
    import torch

    from aufleet_models import build_model

    # On the meta device nothing is allocated: only shapes are counted.
    with torch.device("meta"):
        model = build_model(name, task=task, units=units)
    return sum(parameter.numel() for parameter in model.parameters())
