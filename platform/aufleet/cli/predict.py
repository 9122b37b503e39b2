"""`aufleet predict`: ask a running service about pictures."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from aufleet.cli.output import console, print_json
from aufleet.errors import ConfigError

if TYPE_CHECKING:
    from aufleet.client import Client, Face, FrameResult

BAR_WIDTH = 24
RESEARCH_USE = "research use only, not a medical device"


def command(
    images: list[Path] = typer.Argument(help="JPEG or PNG files."),
    model: str = typer.Option("", "--model", help="NAME, NAME@ALIAS or NAME:VERSION."),
    target: str = typer.Option("", "--target", help="HOST:PORT; else ./.aufleet/serve.json."),
    token_file: Path | None = typer.Option(None, "--token-file", help="Holds the caller's token."),
    ca_file: Path | None = typer.Option(None, "--ca-file", help="Root certificates, PEM."),
    plot: Path | None = typer.Option(None, "--plot", help="Draw the answer into this PNG file."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Ask a running service for the action units, or the palsy grade, of pictures.

    Example: aufleet predict portrait.jpg --plot answer.png
    """
    from aufleet.client import Client

    if plot and len(images) > 1:
        raise ConfigError("--plot draws one picture", "give one image, or leave --plot out")
    place = _service(target, token_file, ca_file)
    with Client(place.target, token=place.token(), root_certificates=place.ca_file) as client:
        results = [_ask(client, image, model) for image in images]
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
            console.print(f"drawn into {plot}", soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class _Service:
    target: str
    token_file: Path
    ca_file: Path | None

    def token(self) -> str:
        try:
            return self.token_file.read_text().strip()
        except OSError as error:
            raise ConfigError(
                f"{self.token_file} cannot be read: {error.strerror}",
                "aufleet token create makes a token; name its file with --token-file",
            ) from error


def _service(target: str, token_file: Path | None, ca_file: Path | None) -> _Service:
    """Return where to ask: what the options say, else the service of this folder."""
    from aufleet.storage.home import state_dir

    ready_file = state_dir() / "serve.json"
    known: dict[str, str] = {}
    if ready_file.exists():
        known = json.loads(ready_file.read_text())
    elif not target or not token_file:
        raise ConfigError(
            f"no service is known: {ready_file} is not there",
            "start aufleet serve, or give --target, --token-file and --ca-file",
        )
    # A certificate file of this folder's service says nothing about another target.
    own_ca = Path(known["ca_file"]) if known and not target else None
    return _Service(
        target=target or known["target"],
        token_file=token_file or Path(known["token_file"]),
        ca_file=ca_file or own_ca,
    )


def _ask(client: "Client", image: Path, model: str) -> "FrameResult":
    name, _, version = model.replace("@", ":").partition(":")
    if _task(client, name, version) == "palsy":
        return client.grade_palsy(image, model=name, version=version)
    return client.detect_action_units(image, model=name, version=version)


def _task(client: "Client", name: str, version: str) -> str:
    """Return what the model answers; without a name, what the only served task is."""
    if name:
        return client.get_model(name, version=version).task
    tasks = {model.task for model in client.list_models()}
    return "palsy" if tasks == {"palsy"} else "au"


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
    milliseconds = result.timings_ms.get("total", 0.0)
    console.print(
        f"[bold]{image.name}[/]  [dim]{result.model} version {result.version}, "
        f"{milliseconds:.0f} ms[/]"
    )
    if result.status != "OK":
        console.print(f"  {result.status.lower().replace('_', ' ')}  {result.message}")
    for face in result.faces:
        for label, probability, active in face_rows(face):
            bar = "█" * round(probability * BAR_WIDTH)
            colour = "cyan" if active else "dim"
            console.print(
                f"  {label:<28}[{colour}]{bar:<{BAR_WIDTH}}[/] {probability:4.2f}"
                f"{'  active' if active and not face.palsy else ''}"
            )


def face_rows(face: "Face") -> list[tuple[str, float, bool]]:
    """Return (label, probability, whether it holds) for each unit or grade of a face."""
    from aufleet.domain.action_units import NAMES
    from aufleet.domain.palsy import GRADES

    if face.palsy:
        palsy = face.palsy
        labels = {g.label: "-".join(map(str, sorted({*g.house_brackmann}))) for g in GRADES}
        return [
            (f"{name} (House-Brackmann {labels[name]})", probability, name == palsy.grade)
            for name, probability in palsy.probabilities.items()
        ]
    return [
        (f"AU{score.unit:<3} {NAMES.get(score.unit, '')}", score.probability, score.active)
        for score in face.units
    ]
