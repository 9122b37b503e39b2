"""`aufleet train`: one trial by hand, with a live table."""

from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from aufleet.cli.output import console, errors, print_json
from aufleet.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from aufleet.storage import Store
    from aufleet.training import EpochReport, TrialConfig, TrialResult

_COLUMNS = ("epoch", "rate", "train loss", "validation loss", "F1", "accuracy")
_LAST_COLUMNS = ("landmarks %", "frames/s")
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

_SETTINGS = typer.Option(
    None, "--set", metavar="KEY=VALUE", help="Any other setting of a trial or of the network."
)


def command(
    dataset: str = typer.Option(..., help="URI of the data set, or name/version below the root."),
    model: str = typer.Option("algrnet", help="Network of the catalog: aufleet models list."),
    task: str = typer.Option("au", help="au (action units) or palsy (grades)."),
    fold: int = typer.Option(1, min=1, max=3, help="The part that is held out as test."),
    epochs: int = typer.Option(20, help="Passes over the training part."),
    settings: list[str] | None = _SETTINGS,
    out: str = typer.Option("", help="Store for the checkpoints; default: below the root."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON, no table."),
) -> None:
    """Train one network on one fold; the same command goes on where it was stopped.

    Example: aufleet train --dataset synthetic/1 --fold 1 --epochs 5 --set width=0.25
    """
    from aufleet.storage import open_store, root_uri
    from aufleet.training import TrialConfig

    chosen = {"dataset": dataset, "model": model, "task": task, "fold": fold, "epochs": epochs}
    trial = TrialConfig.from_settings(parse_settings(settings or []) | chosen)
    if trial.ranks > 1:
        raise ConfigError("aufleet train runs one rank", "aufleet tune runs several")
    place = f"trials/{trial.model}/{trial.config_id}/fold{trial.fold}"
    store = open_store(out or f"{root_uri()}/experiments/by-hand").child(place)
    result = _run_silently(trial, store) if as_json else _run_with_table(trial, store)
    if as_json:
        print_json(
            {"config_id": trial.config_id, "store": store.uri, "settings": trial.settings}
            | asdict(result)
        )
    else:
        _show(result, store)


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Return {"learning_rate": 0.01} for ["learning_rate=0.01"]; values are YAML.

    Raises:
        ConfigError: One is not KEY=VALUE.
    """
    import yaml

    parsed = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set {setting!r} is not KEY=VALUE", "such as learning_rate=0.01")
        try:
            parsed[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--set {setting!r} has a value that is not YAML") from None
    return parsed


def _run_silently(trial: "TrialConfig", store: "Store") -> "TrialResult":
    from aufleet.training import run_trial

    return run_trial(trial, store=store, report=lambda report: True)


def _run_with_table(trial: "TrialConfig", store: "Store") -> "TrialResult":
    """Train with a line per epoch; Ctrl-C ends the verb, not the trial."""
    from rich.console import Group
    from rich.live import Live
    from rich.progress import Progress

    from aufleet.training import run_trial
    from aufleet.training.counting import CountedFold
    from aufleet.training.fold_data import open_fold

    table = _epochs_table(trial.task)
    console.print(f"{trial.model} ({trial.task}), fold {trial.fold}, {trial.config_id}")
    console.print(f"[dim]checkpoints in {store.uri}[/]", soft_wrap=True)
    if not console.is_terminal:
        console.print("  ".join(_columns(trial.task)))

    bar = Progress(console=console)
    task = bar.add_task("this epoch", total=None)
    data = CountedFold(
        fold=open_fold(trial),
        opened=lambda frames: bar.update(task, total=frames),
        done=lambda frames: bar.advance(task, frames),
    )

    def show(report: "EpochReport") -> bool:
        bar.reset(task)
        cells = _cells(report, trial.epochs)
        table.add_row(*cells)
        if not console.is_terminal:
            console.print("  ".join(cells))
        return True

    shown = Group(table, bar)
    live = Live(shown, console=console) if console.is_terminal else nullcontext()
    try:
        with live:
            return run_trial(trial, store=store, report=show, data=data)
    except KeyboardInterrupt:
        errors.print("stopped; the same command goes on from the last whole epoch")
        raise typer.Exit(INTERRUPTED) from None


def _columns(task: str) -> tuple[str, ...]:
    return (*_COLUMNS, *(("kappa",) if task == "palsy" else ()), *_LAST_COLUMNS)


def _epochs_table(task: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in _columns(task):
        table.add_column(column, justify="right")
    return table


def _cells(report: "EpochReport", epochs: int) -> list[str]:
    return [
        f"{report.epoch}/{epochs}",
        f"{report.learning_rate:.2g}",
        f"{report.train_loss:.4f}",
        f"{report.loss:.4f}",
        f"{report.score:.3f}",
        f"{report.accuracy or 0.0:.3f}",
        *(() if report.kappa is None else (f"{report.kappa:.3f}",)),
        "" if report.landmark_error is None else f"{report.landmark_error:.1f}",
        f"{report.frames_per_s:.0f}",
    ]


def _show(result: "TrialResult", store: "Store") -> None:
    from rich.markup import escape
    from rich.table import Table

    from aufleet.training.initial import describe

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "F1", "best constant"):
        table.add_column(column, justify="right" if column else "left")
    for label, f1 in result.per_label.items():
        table.add_row(label, f"{f1:.3f}", f"{result.constant[label]:.3f}")
    constant = sum(result.constant.values()) / len(result.constant)
    table.add_row("mean", f"{result.score:.3f}", f"{constant:.3f}", style="bold")
    if result.initialized:
        console.print(f"[dim]{escape(describe(result.initialized))}[/]", soft_wrap=True)
    console.print(f"\nepoch {result.best_epoch} is best on the validation subjects")
    console.print(table)
    console.print(f"[dim]{store.uri_of(result.checkpoint)}/model.safetensors[/]", soft_wrap=True)
