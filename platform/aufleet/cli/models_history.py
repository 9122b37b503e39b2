"""`aufleet models history`: what an alias pointed to, since when, who moved it and why."""

from typing import Any

import typer

from aufleet.cli.output import console, print_json


def command(
    name: str = typer.Argument(help="Name of a registered model."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List every move of a model's aliases, the newest first.

    Example: aufleet models history demo
    """
    from aufleet.registry.versions import Versions

    rows = [_row(move) for move in reversed(Versions().list_moves(name))]
    if as_json:
        print_json(rows)
    elif rows:
        _show(rows)
    else:
        console.print(f"no alias of {name} was ever moved")


def _row(move: Any) -> dict[str, Any]:  # noqa: ANN401 - the registry is imported late
    return {
        "when": move.when.isoformat(timespec="seconds"),
        "alias": move.alias,
        "from": move.previous,
        "to": move.version,
        "who": move.who,
        "reason": move.reason,
        "rollback": move.is_rollback,
    }


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("when", "alias", "from", "to", "who", "why"):
        table.add_column(column)
    for row in rows:
        why = " ".join(filter(None, ("rolled back" if row["rollback"] else "", row["reason"])))
        when = row["when"].replace("T", " ").removesuffix("+00:00") + " UTC"
        table.add_row(when, f"@{row['alias']}", row["from"] or "-", row["to"], row["who"], why)
    console.print(table)
