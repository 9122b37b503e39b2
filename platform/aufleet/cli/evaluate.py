"""`aufleet evaluate`: score a trained model on a data set, itself or through a running service."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from aufleet.cli.output import console, print_json
from aufleet.errors import ConfigError

if TYPE_CHECKING:
    from aufleet.training.evaluation import Predictions
    from aufleet.training.scoring import DatasetScore, Plan
    from aufleet.training.trained import TrainedModel


def command(
    model: str = typer.Argument(help="NAME, NAME@ALIAS, NAME:VERSION, or a model's folder."),
    dataset: str = typer.Argument(help="URI of the data set, or name/version below the root."),
    unseen: bool = typer.Option(False, "--unseen", help="Leave out subjects that it knows."),
    through: Literal["offline", "serving"] = typer.Option(
        "offline", "--through", help="serving: send the frames through a running service."
    ),
    target: str = typer.Option("", "--target", help="HOST:PORT; else ./.aufleet/serve.json."),
    token_file: Path | None = typer.Option(None, "--token-file", help="Holds the caller's token."),
    ca_file: Path | None = typer.Option(None, "--ca-file", help="Root certificates, PEM."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Score a package, a trial or a checkpoint on any data set, on people that it never saw.

    The folder of a model is that of a package, of a finished trial (its best epoch) or of one
    checkpoint. The units that model and data set have in common are scored.

    Example: aufleet evaluate demo@champion synthetic/2
    """
    from aufleet.data.dataset import open_dataset
    from aufleet.training.scoring import plan_scoring, score_dataset
    from aufleet.training.trained import open_trained

    if through == "serving" and "/" in model:
        raise ConfigError(f"{model} is a folder", "a service knows models by NAME, promote it")
    uri, version = (model, "") if "/" in model else _registered(model)
    trained = open_trained(uri)
    plan = plan_scoring(trained, open_dataset(dataset), unseen=unseen)
    with _progress(plan, silent=as_json) as advance:
        if through == "serving":
            from aufleet.cli.evaluate_service import ask_service
            from aufleet.cli.predict import service_of

            place = service_of(target, token_file, ca_file)
            name = model.replace("@", ":").partition(":")[0]
            predictions = ask_service(
                place, plan=plan, model=trained, reference=(name, version), progress=advance
            )
        else:
            predictions = _predict(trained, plan, advance)
    score = score_dataset(predictions, plan=plan, thresholds=trained.thresholds)
    plain = _plain(trained, plan, score) | {"model": model, "version": version, "through": through}
    if as_json:
        print_json(plain)
    else:
        _show(plain)


def _registered(model: str) -> tuple[str, str]:
    """Return the package and the version of a registered model."""
    from aufleet.registry.versions import Versions, parse_reference

    version = Versions().resolve(*parse_reference(model))
    return version.package_uri, version.version


def _predict(trained: "TrainedModel", plan: "Plan", advance: Any) -> "Predictions":  # noqa: ANN401
    from aufleet.training.scoring import predict

    return predict(trained, plan, progress=advance)


def _progress(plan: "Plan", *, silent: bool) -> Any:  # noqa: ANN401 - a context of a function
    """Return a context whose value takes numbers of frames that are done."""
    if silent or not console.is_terminal:
        return nullcontext(lambda frames: None)
    from contextlib import contextmanager

    from rich.progress import Progress

    @contextmanager
    def shown() -> Any:  # noqa: ANN401
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("scoring", total=plan.num_frames)
            yield lambda frames: progress.advance(task, frames)

    return shown()


def _plain(model: "TrainedModel", plan: "Plan", score: "DatasetScore") -> dict[str, Any]:
    """Return what stands in JSON."""
    from aufleet.domain.action_units import label_of

    pooled = score.pooled
    labels = {
        name: {
            "f1": score.f1[name],
            "pooled_f1": pooled.per_label[name],
            "accuracy": pooled.accuracy_per_label[name],
            "auc": pooled.auc.get(name),
            "constant": pooled.constant[name],
            "threshold": model.thresholds.get(name),
            "f1_at_threshold": score.at_thresholds.get(name),
        }
        for name in pooled.per_label
    }
    palsy = {} if plan.units else {"kappa": pooled.kappa, "confusion": pooled.confusion}
    return {
        "package": model.uri,
        "architecture": model.architecture,
        "dataset": plan.dataset.uri,
        "task": model.task,
        "subjects": len(plan.subjects),
        "frames": score.num_frames,
        "subjects_left_out": list(plan.left_out),
        "units_only_in_model": list(map(label_of, plan.only_in_model)),
        "units_only_in_dataset": list(map(label_of, plan.only_in_dataset)),
        "units" if plan.units else "grades": labels,
        "parts": {str(number): f1 for number, f1 in score.parts.items()},
        "macro_f1": score.macro_f1,
        "pooled_f1": pooled.macro_f1,
        "accuracy": pooled.accuracy,
        "constant_baseline": score.constant,
        **palsy,
        "landmark_error": score.landmark_error,
        "landmark_failures": score.landmark_failures,
    }


def _show(plain: dict[str, Any]) -> None:
    from rich.table import Table

    console.print(
        f"[bold]{plain['model']}[/] on {plain['dataset']}: {plain['frames']} frames of "
        f"{plain['subjects']} subjects",
        soft_wrap=True,
    )
    for key, told in (
        ("subjects_left_out", "left out, seen in training"),
        ("units_only_in_model", "not in the data set"),
        ("units_only_in_dataset", "not in the model"),
    ):
        if plain[key]:
            console.print(f"  [dim]{told}: {', '.join(plain[key])}[/]", soft_wrap=True)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "F1", "pooled", "best constant", "accuracy", "AUC"):
        table.add_column(column, justify="right" if column else "left")
    for name, one in (plain.get("units") or plain["grades"]).items():
        auc = "" if one["auc"] is None else f"{one['auc']:.3f}"
        numbers = (one[key] for key in ("f1", "pooled_f1", "constant", "accuracy"))
        table.add_row(name, *(f"{number:.3f}" for number in numbers), auc)
    means = ("macro_f1", "pooled_f1", "constant_baseline", "accuracy")
    table.add_row("mean", *(f"{plain[key]:.3f}" for key in means), "", style="bold")
    console.print(table)
    console.print(f"[dim]F1 is the mean over {len(plain['parts'])} parts of the data set[/]")
    if "kappa" in plain:
        console.print(f"quadratic weighted kappa {plain['kappa']:.3f}; true grades in rows:")
        for grade, row in zip(plain["grades"], plain["confusion"], strict=True):
            console.print(f"  {grade:<7}" + "".join(f"{count:>7}" for count in row))
    if plain["landmark_error"] is not None:
        console.print(
            f"landmarks {plain['landmark_error']:.2f} % of the inter-ocular distance, "
            f"{100 * plain['landmark_failures']:.1f} % of the frames above 10 %"
        )
    console.print("[dim]research use only, not a medical device[/]")
