"""`aufleet tune`: search an experiment file's configurations on Ray Tune."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from aufleet.cli.models_ablations import ablation_file
from aufleet.cli.output import console, errors, print_json
from aufleet.cli.train import parse_settings

if TYPE_CHECKING:
    from aufleet.storage import Store
    from aufleet.tuning.experiment import Experiment
    from aufleet.tuning.leaderboard import Leaderboard
    from aufleet.tuning.plan import Plan


_SETTINGS = typer.Option(
    None, "--set", metavar="KEY=VALUE", help="A value in the place of the file's; repeatable."
)


def command(
    experiment: Path = typer.Argument(
        help="Experiment file, demo, demo-palsy, or ablation:NAME (aufleet models ablations)."
    ),
    dataset: str = typer.Option("", help="Data set in the place of the file's."),
    settings: list[str] | None = _SETTINGS,
    dry_run: bool = typer.Option(False, "--dry-run", help="Print the plan and run nothing."),
    simulate: Path | None = typer.Option(
        None, "--simulate", metavar="CURVES", help="Search over known learning curves instead."
    ),
    cpus: int | None = typer.Option(None, "--cpus", min=1, help="CPUs to use; default: all."),
    retry_failed: bool = typer.Option(
        False, "--retry-failed", help="Try again what failed for good in an earlier run."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Search an experiment: models x folds x hyperparameters, then score the winner.

    The same command goes on where an interrupted one ended; nothing finished runs twice. A file
    holds a search or, under `rows`, a table of named configurations, which are all scored; keys
    and starts from earlier models are described in docs/experiments.md.

    `early_stopping` and `budget` in the file say when configurations are given up and when the
    search ends; a larger budget continues it. One driver runs an experiment at a time.

    --set changes a value of the file: epochs=5 (of every trial), resources.ranks=2, folds=[1],
    name=other, or an input of the table.

    --simulate reads learning curves (docs/search.md has the format) and tells how many epochs the
    file's early stopping takes on them, and what it finds.

    Example: aufleet tune bp4d-search.yaml --dry-run

    Example: aufleet tune ablation:algrnet-bp4d --dataset demo/1 --set width=0.125 --set epochs=5
    """
    from aufleet.data.dataset import open_dataset
    from aufleet.storage import open_store, root_uri
    from aufleet.tuning.experiment import read_experiment
    from aufleet.tuning.forecast import forecast, in_words
    from aufleet.tuning.grid import dataset_uri
    from aufleet.tuning.plan import plan_of

    changes = parse_settings(settings or []) | ({"dataset": dataset} if dataset else {})
    wanted = read_experiment(_file_of(experiment), changes=changes)
    if simulate is not None:
        _simulate(wanted, simulate, as_json=as_json)
        return
    root = open_store(root_uri())
    plan = plan_of(wanted, root=root)
    if dry_run:
        plain = {
            "configurations": plan.configurations,
            "folds": list(plan.folds),
            "trials": plan.trials,
            "resources_per_trial": plan.resources_per_trial,
        }
        if (estimate := forecast(wanted, plan, root=root)) is not None:
            plain["expected"] = estimate.to_plain()
        if wanted.rows:
            plain |= {"rows": dict(plan.rows), "left_out": dict(plan.left_out)}
        _show_plan(plain, as_json=as_json)
        if estimate and not as_json:
            console.print(f"[dim]{in_words(estimate)}[/]")
        return
    for row, reason in plan.left_out.items():
        errors.print(f"row {row} is left out: {reason}", soft_wrap=True, markup=False)
    plan.require_some(wanted.name)
    open_dataset(dataset_uri(wanted, root=root))  # before seconds are spent on Ray
    leaderboard = _search(wanted, plan, root=root, cpus=cpus, retry_failed=retry_failed)
    if as_json:
        print_json(leaderboard.to_plain())
    else:
        _show_winner(leaderboard)


def _simulate(experiment: "Experiment", file: Path, *, as_json: bool) -> None:
    from aufleet.tuning.curves import read_curves
    from aufleet.tuning.meter import Meter
    from aufleet.tuning.runs import limits_of
    from aufleet.tuning.simulation import simulate

    curves = read_curves(file)
    like = experiment.model_copy(update={"folds": curves.folds})
    outcome = simulate(
        curves,
        limits=limits_of(like, meter=Meter(experiment.budget)),
        seed=experiment.sampler.seed,
    )
    best = max(one.score for one in curves.configurations)
    plain = {
        "epochs": outcome.epochs,
        "grid_epochs": curves.grid_epochs,
        "stopped": outcome.stopped,
        "found": outcome.best,
        "best": best,
    }
    if as_json:
        print_json(plain)
        return
    found = "nothing" if outcome.best is None else f"F1 {outcome.best:.3f}"
    console.print(
        f"{outcome.epochs:,} epochs, {outcome.epochs / curves.grid_epochs:.0%} of the "
        f"{curves.grid_epochs:,} of the full grid; {outcome.stopped} of "
        f"{len(curves.configurations)} configurations were given up; found {found}, "
        f"the best is F1 {best:.3f}"
    )


def _show_winner(leaderboard: "Leaderboard") -> None:
    winner = leaderboard.winner
    if leaderboard.ended_early:
        console.print(f"{leaderboard.ended_early} is spent; a larger one continues the search")
    if winner is None or winner.validation is None:
        console.print("no configuration has finished all its folds")
    else:
        scores = winner.validation
        console.print(
            f"winner {winner.model} {winner.config_id}: macro F1 {scores.mean:.3f} on the "
            f"validation subjects, best constant answer {scores.constant_baseline:.3f}"
        )
    name = leaderboard.experiment
    console.print(f"[dim]aufleet leaderboard {name} shows every configuration[/]")
    console.print(f"[dim]aufleet report {name} writes them on a page[/]")


def _search(
    experiment: "Experiment",
    plan: "Plan",
    *,
    root: "Store",
    cpus: int | None,
    retry_failed: bool,
) -> "Leaderboard":
    from aufleet.cli.orphans import no_orphans
    from aufleet.cli.ray_session import ray_session
    from aufleet.training import run_trial, score_test
    from aufleet.tuning.progress import show_progress
    from aufleet.tuning.search import run_search
    from aufleet.tuning.tracking import MlflowTracker

    store = root.child(f"experiments/{experiment.name}")
    # Progress goes to standard error: standard output is for the result.
    tracker = MlflowTracker(experiment.name, store=store, rows=plan.rows)
    gpus = experiment.resources.gpus_per_rank
    listeners = [show_progress(errors, rows=plan.rows, gpus_per_rank=gpus), tracker]
    with no_orphans(), ray_session(num_cpus=cpus):
        return run_search(
            experiment,
            root=root,
            listeners=listeners,
            run_trial=run_trial,
            score_test=score_test,
            retry_failed=retry_failed,
        )


def _file_of(experiment: Path) -> Path:
    """Return the file, or the one of this name that comes with the package."""
    import aufleet.tuning

    folder = Path(aufleet.tuning.__file__).parent / "experiments"
    kind, separator, name = str(experiment).partition(":")
    if separator and kind == "ablation":
        return ablation_file(name)
    shipped = folder / f"{experiment}.yaml"
    return shipped if not experiment.exists() and shipped.is_file() else experiment


def _show_plan(plan: dict, *, as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    resources = ", ".join(
        f"{value:g} {name}" for name, value in plan["resources_per_trial"].items()
    )
    console.print(
        f"{plan['configurations']} configurations x {len(plan['folds'])} folds = "
        f"{plan['trials']} trials, each on {resources}"
    )
    for row, config_id in plan.get("rows", {}).items():
        console.print(f"  {row} [dim]{config_id}[/]")
    for row, reason in plan.get("left_out", {}).items():
        console.print(f"  {row} is left out: {reason}", soft_wrap=True, markup=False)
