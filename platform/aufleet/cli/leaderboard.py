"""`aufleet leaderboard`: configurations by their mean over folds."""

from typing import TYPE_CHECKING

import typer

from aufleet.cli.output import console, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from aufleet.storage import Store
    from aufleet.tuning.leaderboard import Leaderboard, Row


def command(
    experiment: str = typer.Argument(help="Name or URI of an experiment."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show an experiment's configurations, the best first, beside the best constant answer.

    Scores are macro F1 on the validation subjects; the winner is also scored on the test parts.

    Example: aufleet leaderboard demo --json
    """
    from aufleet.tuning.leaderboard import read_leaderboard

    leaderboard = read_leaderboard(experiment_store(experiment))
    if as_json:
        print_json(leaderboard.to_plain())
    else:
        show_leaderboard(leaderboard)


def experiment_store(experiment: str) -> "Store":
    """Return the store of an experiment that is named, or given by its URI."""
    from aufleet.storage import open_store, root_uri

    if "/" in experiment:
        return open_store(experiment)
    return open_store(root_uri()).child(f"experiments/{experiment}")


def show_leaderboard(leaderboard: "Leaderboard") -> None:
    """Print the configurations as a table, and the winner's units as another."""
    folds = sorted({fold for row in leaderboard.rows for fold in _folds_of(row)})
    console.print(
        f"[bold]{leaderboard.experiment}[/]  macro F1 on the validation subjects, best first"
    )
    table = _table("configuration", *(f"fold {fold}" for fold in folds), "mean", "constant")
    for row in leaderboard.rows:
        table.add_row(*_cells(row, folds=folds))
    console.print(table)
    if leaderboard.winner is not None:
        _show_winner(leaderboard.winner)


def _table(first: str, *others: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(first)
    for title in others:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _folds_of(row: "Row") -> list[int]:
    return list(row.validation.folds) if row.validation else []


def _cells(row: "Row", *, folds: list[int]) -> list[str]:
    scores = row.validation
    known = scores.folds if scores else {}
    return [
        _describe(row),
        *(f"{known[fold]:.3f}" if fold in known else "-" for fold in folds),
        f"{scores.mean:.3f} ± {scores.std:.3f}" if scores else "-",
        f"{scores.constant_baseline:.3f}" if scores else "-",
    ]


def _describe(row: "Row") -> str:
    """Name a configuration, say what is searched in it, and what became of it."""
    from rich.markup import escape

    lines = [" ".join(filter(None, [row.row, row.model, row.config_id]))]
    if row.hyperparameters:
        settings = [f"{key}={_short(value)}" for key, value in row.hyperparameters.items()]
        lines.append(f"[dim]{', '.join(settings)}[/]")
    if row.status != "finished":
        told = row.reason if row.reason.startswith(row.status) else f"{row.status}: {row.reason}"
        lines.append(f"[yellow]{escape(told.removesuffix(': '))}[/]")
    return "\n".join(lines)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _show_winner(row: "Row") -> None:
    """Print the winner's F1 per label beside the best constant answer's."""
    scores, part = (row.test, "test") if row.test else (row.validation, "validation")
    if scores is None:
        return
    console.print(
        f"\n[bold]winner {row.model} {row.config_id}[/]  F1 on the {part} subjects, mean over folds"
    )
    # Over the frames of all folds together: another number than the mean, and papers report either.
    pooled = {**scores.pooled, "mean": scores.pooled_f1}
    table = _table("", "F1", *(["pooled"] if scores.pooled else []), "best constant", "better by")
    labels = [*scores.per_label.items(), ("mean", scores.mean)]
    constants = {**scores.constant, "mean": scores.constant_baseline}
    for label, f1 in labels:
        constant, style = constants.get(label, 0.0), "bold" if label == "mean" else None
        cells = [f1, *([pooled.get(label) or 0.0] if scores.pooled else []), constant]
        told = [f"{cell:.3f}" for cell in cells]
        table.add_row(label, *told, f"{f1 - constant:+.3f}", style=style)
    console.print(table)
