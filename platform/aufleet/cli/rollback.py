"""`aufleet rollback`: give an alias back to the version that had it before."""

from typing import Literal

import typer

from aufleet.cli.output import console, print_json


def command(
    name: str = typer.Argument(help="Name of a registered model."),
    alias: Literal["champion", "candidate"] = typer.Option(
        "champion", "--alias", help="The alias that moves back."
    ),
    reason: str = typer.Option("", "--reason", help="Why; it stands in the history."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Point an alias to the version that it was moved from; again: one version further back.

    Example: aufleet rollback demo --reason "fewer smiles found"
    """
    from aufleet.registry.versions import Versions

    move = Versions().roll_back(name, alias=alias, reason=reason)
    if as_json:
        print_json({"name": name, "alias": alias, "from": move.previous, "to": move.version})
    else:
        console.print(f"[bold]{name}@{alias}[/]: version {move.previous} -> {move.version}")
