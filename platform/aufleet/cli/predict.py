"""`aufleet predict`: ask a running service about pictures."""

import json
import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from aufleet.cli.output import console, print_json
from aufleet.errors import ConfigError

if TYPE_CHECKING:
    from aufleet.client import Client, Face, FrameResult, PalsyResult

Task = Literal["au", "palsy"]
BAR_WIDTH = 24
RESEARCH_USE = "research use only, not a medical device"


def command(
    images: list[Path] = typer.Argument(help="JPEG or PNG files."),
    model: str = typer.Option("", "--model", help="NAME, NAME@ALIAS or NAME:VERSION."),
    task: Task | None = typer.Option(None, "--task", help="Default: what the model answers."),
    target: str = typer.Option("", "--target", help="HOST:PORT; else ./.aufleet/serve.json."),
    token_file: Path | None = typer.Option(None, "--token-file", help="Holds the caller's token."),
    ca_file: Path | None = typer.Option(None, "--ca-file", help="Root certificates, PEM."),
    plot: Path | None = typer.Option(None, "--plot", help="Draw the answer into this PNG file."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Ask a running service for the action units, or the palsy grade, of pictures.

    Example: aufleet predict portrait.jpg --plot answer.png
    """
    # gRPC's own lines would stand above our one sentence.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from aufleet.client import Client

    if plot and len(images) > 1:
        raise ConfigError("--plot draws one picture", "give one image, or leave --plot out")
    place = service_of(target, token_file, ca_file)
    with (
        console.status(f"asking {place.target}") if not as_json else nullcontext(),
        Client(place.target, token=place.token(), root_certificates=place.ca_file) as client,
    ):
        results = [_ask(client, image, model=model, task=task) for image in images]
    if as_json:
        _print_json(results)
    else:
        for image, result in zip(images, results, strict=True):
            _show(image, result)
        console.print(f"[dim]{RESEARCH_USE}[/]")
    if plot:
        from aufleet.cli.plot import plot_answer

        plot_answer(images[0], results[0], out=plot)
        if not as_json:
            console.print(f"drawn into {plot}", soft_wrap=True, markup=False)


@dataclass(frozen=True, kw_only=True)
class ServicePlace:
    """Where a service is, and what it takes to ask it."""

    target: str
    token_file: Path
    ca_file: Path | None

    def token(self) -> str:
        """Return the caller's token.

        Raises:
            ConfigError: Its file cannot be read.
        """
        try:
            return self.token_file.read_text().strip()
        except OSError as error:
            raise ConfigError(
                f"{self.token_file} cannot be read: {error.strerror}",
                "aufleet token create makes a token; name its file with --token-file",
            ) from error


def service_of(target: str, token_file: Path | None, ca_file: Path | None) -> ServicePlace:
    """Return where to ask: what the options say, else the service of this folder.

    The token and the certificates of this folder's service are for that service only.
    """
    if target and token_file:
        return ServicePlace(target=target, token_file=token_file, ca_file=ca_file)
    if target:
        raise ConfigError(f"no token for {target} is named", "give --token-file as well")
    from aufleet.storage.home import state_dir

    ready_file = state_dir() / "serve.json"
    try:
        known = json.loads(ready_file.read_text())
        return ServicePlace(
            target=known["target"],
            token_file=token_file or Path(known["token_file"]),
            ca_file=ca_file or Path(known["ca_file"]),
        )
    except FileNotFoundError:
        raise ConfigError(
            f"no service is known: {ready_file} is not there",
            "start aufleet serve, or give --target, --token-file and --ca-file",
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{ready_file} does not say where the service is", "start aufleet serve again"
        ) from error


def _ask(client: "Client", image: Path, *, model: str, task: Task | None) -> "FrameResult":
    name, _, version = model.replace("@", ":").partition(":")
    if task == "palsy":
        return client.grade_palsy(image, model=name, version=version)
    from aufleet.client import RejectedError

    try:
        return client.detect_action_units(image, model=name, version=version)
    except RejectedError as error:
        # Asking what is served would need a scope of its own, so the service's refusal tells.
        if task or error.code not in {"FAILED_PRECONDITION", "NOT_FOUND"}:
            raise
        refusal = error
    try:
        return client.grade_palsy(image, model=name, version=version)
    except RejectedError:
        raise refusal from None


def _print_json(results: "list[FrameResult]") -> None:
    """One document for all pictures: they were answered by the same model."""
    first = results[0]
    print_json(
        {
            "model": first.model,
            "version": first.version,
            "request_id": first.request_id,
            "frames": [
                {"status": result.status, "faces": [_face_json(face) for face in result.faces]}
                for result in results
            ],
        }
    )


def _face_json(face: "Face") -> dict:
    answer: dict = {
        "box": [face.box.x, face.box.y, face.box.width, face.box.height],
        "landmarks": [list(point) for point in face.landmarks],
    }
    if face.palsy:
        return answer | {"grade": face.palsy.grade, "probabilities": face.palsy.probabilities}
    units = {
        f"AU{score.unit}": {
            "probability": score.probability,
            "threshold": score.threshold,
            "active": score.active,
        }
        for score in face.units
    }
    return answer | {"units": units}


def _show(image: Path, result: "FrameResult") -> None:
    from rich.markup import escape

    milliseconds = result.timings_ms.get("total", 0.0)
    console.print(
        f"[bold]{escape(image.name)}[/]  [dim]{escape(result.model)} version "
        f"{escape(result.version)}, {milliseconds:.0f} ms[/]",
        soft_wrap=True,
    )
    if result.status != "OK":
        status = result.status.lower().replace("_", " ")
        console.print(f"  {status}  {escape(result.message)}", soft_wrap=True)
    for face in result.faces:
        for row in face_rows(face):
            bar = "█" * round(row.probability * BAR_WIDTH)
            colour = "cyan" if row.holds else "dim"
            mark = "  active" if row.holds and not face.palsy else ""
            console.print(
                f"  {row.label:<7} {row.name:<21}[{colour}]{bar:<{BAR_WIDTH}}[/] "
                f"{row.probability:4.2f}{mark}",
                soft_wrap=True,
            )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One unit or one grade of a face, as it is shown.

    Attributes:
        label: "AU12", or "medium".
        name: What that means.
        probability: That it holds.
        threshold: From which a unit counts as active; None for a grade.
        holds: The unit is active, or the grade is the answer.
    """

    label: str
    name: str
    probability: float
    threshold: float | None
    holds: bool


def face_rows(face: "Face") -> list[Row]:
    """Return a row for each unit, or each grade, of a face."""
    from aufleet.domain.action_units import NAMES, label_of

    if face.palsy:
        return _grade_rows(face.palsy)
    return [
        Row(
            label=label_of(score.unit),
            name=NAMES.get(score.unit, ""),
            probability=score.probability,
            threshold=score.threshold,
            holds=score.active,
        )
        for score in face.units
    ]


def _grade_rows(palsy: "PalsyResult") -> list[Row]:
    from aufleet.domain.palsy import GRADES

    return [
        Row(
            label=grade.label,
            name="House-Brackmann " + "-".join(map(str, sorted({*grade.house_brackmann}))),
            probability=palsy.probabilities[grade.label],
            threshold=None,
            holds=grade.label == palsy.grade,
        )
        for grade in GRADES
    ]
