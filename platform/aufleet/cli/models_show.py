"""`aufleet models show`: a picture of what a network sees, where it looks and what it learned."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from aufleet.cli.models_show_network import UNTRAINED, FreshSettings, Task
from aufleet.cli.output import console, print_json
from aufleet.errors import ConfigError

if TYPE_CHECKING:
    from aufleet.cli.models_show_answer import Answer
    from aufleet.cli.models_show_network import ShownNetwork

BAR_WIDTH = 24


def command(
    name: str = typer.Argument(
        "",
        help="NAME, NAME@ALIAS or NAME:VERSION of a promoted model, the URI of a package, or a "
        "network of the catalog with untrained weights.",
    ),
    image: Path = typer.Option(..., "--image", help="JPEG or PNG with a face."),
    out: Path = typer.Option(..., "--out", help="The PNG file to write."),
    aligned: bool = typer.Option(
        False, "--aligned", help="The image is an aligned frame of 200 x 200 pixels."
    ),
    checkpoint: str = typer.Option(
        "", "--checkpoint", help="Instead of NAME: a trial's checkpoint folder."
    ),
    member: str = typer.Option(
        "", "--member", help="One member of an ensemble, as fold2; default: the mean of all."
    ),
    task: Task | None = typer.Option(
        None, "--task", help="Untrained networks: au (default) or palsy."
    ),
    units: str = typer.Option(
        "", "--units", help="Untrained networks: as AU1,AU12; default: the 12 of BP4D."
    ),
    width: float | None = typer.Option(
        None, "--width", help="Untrained networks: scale of the channels; default: 1.0."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Draw input, landmarks, attention, class activation and, for MGRR-Net, learned relations.

    Of an ensemble everything is the mean of its members. A network without attention maps has no
    such panels.

    Example: aufleet models show demo@champion --image portrait.jpg --out seen.png
    """
    fresh = FreshSettings(task=task, units=units, width=width)
    _check_call(name, checkpoint=checkpoint, out=out)
    from aufleet.cli.models_show_answer import explain
    from aufleet.cli.models_show_face import read_face
    from aufleet.cli.models_show_network import choose_member, open_checkpoint, open_network
    from aufleet.cli.models_show_picture import draw_picture

    face = read_face(image, aligned=aligned)
    if checkpoint:
        network = open_checkpoint(checkpoint, fresh=fresh)
    else:
        network = open_network(name, fresh=fresh)
    network = choose_member(network, member)
    answer = explain(network, face)
    draw_picture(network, face, answer, out=out)
    if as_json:
        print_json(_plain(network, answer, out))
    else:
        _show(network, answer, out)


def _check_call(name: str, *, checkpoint: str, out: Path) -> None:
    if bool(name) == bool(checkpoint):
        raise ConfigError("one network is shown", "give a NAME, or --checkpoint with its folder")
    if out.suffix.lower() != ".png":
        raise ConfigError(
            f"the picture is a PNG file, {out} is not named like one", "end it in .png"
        )
    if out.is_dir():
        raise ConfigError(f"{out} is a folder", "name a file for --out")


def _plain(network: "ShownNetwork", answer: "Answer", out: Path) -> dict[str, Any]:
    return {
        "picture": str(out),
        "network": network.title,
        "architecture": network.architecture,
        "weights": network.origin,
        "trained": network.trained,
        "task": network.task,
        "probabilities": {
            label: round(float(probability), 6)
            for label, probability in zip(network.labels, answer.probabilities, strict=True)
        },
        "active": [
            label for label, holds in zip(network.labels, answer.active, strict=True) if holds
        ],
        "panels": _panels(answer),
    }


def _panels(answer: "Answer") -> list[str]:
    """Return what the picture shows beside the input."""
    parts = {
        "landmarks": answer.landmarks,
        "attention": answer.attention,
        "activation": answer.activation,
        "relations": answer.relations,
    }
    return [panel for panel, part in parts.items() if part is not None]


def _show(network: "ShownNetwork", answer: "Answer", out: Path) -> None:
    facts = dict.fromkeys((network.architecture, network.origin))
    facts.pop(network.title, None)
    console.print(f"[bold]{network.title}[/]  {', '.join(facts)}", soft_wrap=True)
    if not network.trained:
        console.print(f"[yellow]{UNTRAINED}[/]: nothing in the picture was learned")
    for label, probability, holds in zip(
        network.labels, answer.probabilities, answer.active, strict=True
    ):
        bar = "█" * round(BAR_WIDTH * float(probability))
        style = "bold" if holds else "dim"
        console.print(f"[{style}]{label:<8}{bar:<{BAR_WIDTH}}  {probability:.2f}[/]")
    console.print(f"drawn into {out}: {', '.join(_panels(answer))}", soft_wrap=True, markup=False)
