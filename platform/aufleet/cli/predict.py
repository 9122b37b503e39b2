"""`aufleet predict`: ask a running service about pictures and videos."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from aufleet.cli.output import console, print_json
from aufleet.cli.predict_answers import Questions, Task, answers_of
from aufleet.cli.predict_outputs import open_outputs
from aufleet.cli.predict_records import document_of
from aufleet.cli.predict_rows import RESEARCH_USE
from aufleet.cli.predict_sources import Source, find_sources
from aufleet.cli.predict_text import Summary, show
from aufleet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from aufleet.client import FrameResult

Format = Literal["text", "json", "jsonl", "csv"]
UNUSABLE = frozenset({"NOT_AN_IMAGE", "TOO_MANY_PIXELS"})


def command(
    images: list[Path] = typer.Argument(
        help="Pictures (JPEG, PNG), videos, folders of both, or - for standard input."
    ),
    model: str = typer.Option("", "--model", help="NAME, NAME@ALIAS or NAME:VERSION."),
    task: Task | None = typer.Option(None, "--task", help="Default: what the model answers."),
    target: str = typer.Option(
        "", "--target", help="HOST:PORT, several with commas; else ./.aufleet/serve.json."
    ),
    token_file: Path | None = typer.Option(None, "--token-file", help="Holds the caller's token."),
    ca_file: Path | None = typer.Option(None, "--ca-file", help="Root certificates, PEM."),
    plot: Path | None = typer.Option(None, "--plot", help="Draw one answer into this PNG file."),
    outs: list[Path] = typer.Option(
        [],
        "--out",
        help="Write what the ending says: .jsonl, .csv; .png, .jpg or .mp4 for the one picture or "
        "video with its answer drawn; else a folder for all of them. May be repeated.",
    ),
    form: Format = typer.Option("text", "--format", help="Of standard output."),
    smoothing_s: float = typer.Option(
        0.0, "--smooth", min=0.0, help="Time constant in seconds over a video; 0 for none."
    ),
    rate_hz: float | None = typer.Option(
        None, "--rate", min=0.01, help="At most so many frames of a video per second."
    ),
    all_faces: bool = typer.Option(False, "--all-faces", help="Not the largest face alone."),
    mirrored: bool = typer.Option(False, "--mirrored", help="They are mirror images (selfies)."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON; the same as --format json."),
) -> None:
    """Ask a running service for the action units, or the palsy grade, of pictures and videos.

    Example: aufleet predict portrait.jpg --plot answer.png

    Example: aufleet predict visit/ --out answers.csv --out drawn/
    """
    # gRPC's own lines would stand above our one sentence.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from aufleet.client import Client

    sources = find_sources(images)
    form = "json" if as_json else form
    _check_plot(plot, sources)
    place = service_of(target, token_file, ca_file)
    questions = Questions(
        model=model,
        task=task,
        smoothing_s=smoothing_s,
        rate_hz=rate_hz,
        all_faces=all_faces,
        mirrored=mirrored,
    )
    with ExitStack() as stack:
        outputs = stack.enter_context(open_outputs(outs, sources, form=form, rate_hz=rate_hz))
        client = stack.enter_context(
            Client(place.target, token=place.token(), root_certificates=place.ca_file)
        )
        asking = form == "text" and not any(source.is_video for source in sources)
        stack.enter_context(console.status(f"asking {place.target}") if asking else nullcontext())
        answers = answers_of(client, sources, questions)
        results, unusable = [], 0
        for source, result in _shown(answers, form=form):
            outputs.add(source, result)
            unusable += result.status in UNUSABLE and not source.is_video
            if form == "json" or plot:
                results.append(result)
    _finish(results, form=form, plot=plot, sources=sources)
    if unusable:
        raise DataError(f"{unusable} of {len(sources)} files are no pictures that can be used")


def _shown(
    answers: "Iterator[tuple[Source, FrameResult]]", *, form: Format
) -> "Iterator[tuple[Source, FrameResult]]":
    """Pass answers on; for people they are printed on the way, a video as one summary."""
    summary: Summary | None = None
    for source, result in answers:
        if form == "text":
            if summary is not None and summary.name != source.name:
                summary.show()
                summary = None
            if source.is_video:
                summary = summary or Summary(source.name)
                summary.add(result)
            else:
                show(source.name, result)
        yield source, result
    if summary is not None:
        summary.show()


def _finish(
    results: "list[FrameResult]", *, form: Format, plot: Path | None, sources: list[Source]
) -> None:
    """Print what stands at the end, and draw the plot."""
    if form == "json":
        print_json(document_of(results))
    if form == "text":
        console.print(f"[dim]{RESEARCH_USE}[/]")
    if plot:
        from aufleet.cli.plot import plot_answer

        plot_answer(sources[0].read(), results[0], out=plot)
        if form == "text":
            console.print(f"drawn into {plot}", soft_wrap=True, markup=False)


def _check_plot(plot: Path | None, sources: Sequence[Source]) -> None:
    if plot and (len(sources) > 1 or sources[0].is_video):
        raise ConfigError("--plot draws one picture", "give one image, or name a folder with --out")


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
