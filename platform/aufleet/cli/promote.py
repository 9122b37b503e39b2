"""`aufleet promote`: make an experiment's winner a model version."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import typer

from aufleet.cli.output import console, errors, print_json

if TYPE_CHECKING:
    from aufleet.training import EpochReport
    from aufleet.tuning.winner import Watch


def command(
    experiment: str = typer.Argument(help="Name or URI of an experiment."),
    source: Literal["ensemble", "refit", "best-fold"] = typer.Option(
        "ensemble",
        "--from",
        help="All folds of the winner together, one network trained on all subjects now, or the "
        "best fold alone.",
    ),
    alias: Literal["champion", "candidate"] = typer.Option(
        "champion", "--alias", help="The alias that will point to the version."
    ),
    min_f1: float = typer.Option(0.0, "--min-f1", help="Gate: least F1 of each unit or grade."),
    min_kappa: float = typer.Option(0.0, "--min-kappa", help="Gate: least kappa of a grader."),
    max_drop: float = typer.Option(
        0.05, "--max-drop", help="Gate: how far F1 or kappa may lie below the champion's."
    ),
    max_ms: float | None = typer.Option(
        None, "--max-ms", help="Gate: longest time for one frame on this machine."
    ),
    evaluate_on: str = typer.Option(
        "", "--evaluate-on", help="Judge on this data set; else by the folds' scores."
    ),
    force: bool = typer.Option(False, "--force", help="Move the alias whatever the gates say."),
    reason: str = typer.Option("", "--reason", help="Why; it stands in the history."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Package an experiment's winner, register it, and let an alias point to it.

    Thresholds and temperature come from the folds' validation subjects. An alias moves only if no
    gate is shut: the champion and the new version are compared on the same frames. A refit trains
    in this process for as many epochs as the folds needed; stopped, the same command goes on.

    Example: aufleet promote demo --alias champion
    """
    from aufleet.cli.leaderboard import experiment_store
    from aufleet.registry.gates import Gates
    from aufleet.registry.versions import Versions
    from aufleet.storage import open_store, root_uri
    from aufleet.tuning.promotion import AliasRequest, promote

    move = AliasRequest(
        alias=alias,
        gates=Gates(min_f1=min_f1, min_kappa=min_kappa, max_drop=max_drop, max_ms=max_ms),
        evaluate_on=evaluate_on,
        force=force,
        reason=reason,
    )
    silent = nullcontext(lambda report, epochs: None)  # only a refit has epochs
    with _epochs_shown() if source == "refit" else silent as watch:
        promotion = promote(
            experiment_store(experiment),
            root=open_store(root_uri()),
            versions=Versions(),
            kind=source,
            move=move,
            watch=watch,
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
        "calibration_error": card.reliability.error if card.reliability else None,
        "thresholds": card.thresholds,
        "intended_use": card.intended_use,
    }
    if as_json:
        print_json(plain)
    else:
        _show(plain)


@contextmanager
def _epochs_shown() -> Iterator["Watch"]:
    """Show how far a refit is, on standard error."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("training on all subjects"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs{task.description}"),
    )
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("", total=None)

        def watch(report: "EpochReport", epochs: int) -> None:
            loss = f", train loss {report.train_loss:.3f}"
            bar.update(task, total=epochs, completed=report.epoch, description=loss)

        yield watch


def _show(plain: dict[str, Any]) -> None:
    marks = " ".join(f"@{alias}" for alias in plain["aliases"])
    console.print(f"[bold]{plain['name']}:{plain['version']}[/] {marks}")
    console.print(f"  {plain['architecture']} ({plain['task']}), {', '.join(plain['members'])}")
    console.print(f"  {plain['package']}", soft_wrap=True)
    error = plain["calibration_error"]
    reliable = "" if error is None else f", calibration error {error:.3f}"
    console.print(f"  temperature {plain['temperature']:.3f}{reliable}")
    if plain["thresholds"]:
        pairs = (f"{unit} {threshold:.2f}" for unit, threshold in plain["thresholds"].items())
        console.print(f"  thresholds {', '.join(pairs)}")
    console.print(f"  [dim]{plain['intended_use']}[/]")
