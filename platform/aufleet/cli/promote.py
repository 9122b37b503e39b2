"""`aufleet promote`: make an experiment's winner a model version."""

from typing import Any, Literal

import typer

from aufleet.cli.output import console, print_json


def command(
    experiment: str = typer.Argument(help="Name or URI of an experiment."),
    source: Literal["ensemble", "best-fold"] = typer.Option(
        "ensemble", "--from", help="All folds of the winner together, or its best fold alone."
    ),
    alias: Literal["champion", "candidate"] = typer.Option(
        "champion", "--alias", help="The alias that will point to the version."
    ),
    reason: str = typer.Option("", "--reason", help="Why; it stands in the history."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Package an experiment's winner, register it, and let an alias point to it.

    Thresholds and temperature come from the folds' validation subjects.

    Example: aufleet promote demo --alias champion
    """
    from aufleet.cli.leaderboard import experiment_store
    from aufleet.registry.versions import Versions
    from aufleet.storage import open_store, root_uri
    from aufleet.tuning.promotion import promote

    promotion = promote(
        experiment_store(experiment),
        root=open_store(root_uri()),
        versions=Versions(),
        kind=source,
        alias=alias,
        reason=reason,
    )
    version, card = promotion.version, promotion.card
    plain = {
        "name": version.name,
        "version": version.version,
        "aliases": list(version.aliases),
        "task": version.task,
        "architecture": version.architecture,
        "package": version.package_uri,
        "digest": version.digest,
        "members": list(card.members),
        "temperature": card.temperature,
        "thresholds": card.thresholds,
        "intended_use": card.intended_use,
    }
    if as_json:
        print_json(plain)
    else:
        _show(plain)


def _show(plain: dict[str, Any]) -> None:
    marks = " ".join(f"@{alias}" for alias in plain["aliases"])
    console.print(f"[bold]{plain['name']}:{plain['version']}[/] {marks}")
    console.print(f"  {plain['architecture']} ({plain['task']}), {', '.join(plain['members'])}")
    console.print(f"  {plain['package']}", soft_wrap=True)
    console.print(f"  temperature {plain['temperature']:.3f}")
    if plain["thresholds"]:
        pairs = (f"{unit} {threshold:.2f}" for unit, threshold in plain["thresholds"].items())
        console.print(f"  thresholds {', '.join(pairs)}")
    console.print(f"  [dim]{plain['intended_use']}[/]")
