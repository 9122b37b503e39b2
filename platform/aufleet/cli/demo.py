"""`aufleet demo`: the whole path on this machine, each step a verb that anyone can call."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer

from aufleet.cli.output import console
from aufleet.cli.verbs import Service, run_verb, stop_kept_service
from aufleet.errors import AufleetError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUM_STEPS = 8
UNITS = "AU1,AU2,AU12,AU25,AU26"
FULL = {"experiment": "demo", "subjects": 18, "frames": 60}
SHORT = {"experiment": "demo-short", "subjects": 12, "frames": 6}


def command(
    keep: bool = typer.Option(False, "--keep", help="Leave the store and the service running."),
    short: bool = typer.Option(False, "--short", help="Every step, too few frames to learn."),
    fresh: bool = typer.Option(False, "--fresh", help="Forget an earlier demo first."),
) -> None:
    """Render faces, search, promote, serve and analyse two pictures on this machine.

    A second run continues the first: what is published or trained already is not made again.

    Example: aufleet demo --keep
    """
    signal.signal(signal.SIGTERM, _interrupt)
    began = time.monotonic()
    console.print("[bold]aufleet demo[/]  research use only, not a medical device\n")
    try:
        with ExitStack() as stack:
            _Demo(keep=keep, size=SHORT if short else FULL, fresh=fresh, stack=stack).run()
    except (AufleetError, KeyboardInterrupt):
        console.print(
            "\n[yellow]The demo was stopped, and so was everything it had started.[/] What it made "
            "lies in ./.aufleet; the same command continues."
        )
        raise
    minutes, seconds = divmod(time.monotonic() - began, 60)
    console.print(f"\n[bold]Done[/] in {minutes:.0f} min {seconds:.0f} s.")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Demo:
    """The eight steps; what a step starts is stopped when the stack unwinds."""

    def __init__(self, *, keep: bool, size: dict, fresh: bool, stack: ExitStack) -> None:
        from aufleet.storage.home import state_dir

        self.keep, self.size, self.fresh, self.stack = keep, size, fresh, stack
        self.home = state_dir()
        self.folder = self.home / size["experiment"]
        self.service = Service(self.home, ready_file=self.home / "serve.json")

    def run(self) -> None:
        self.folder.mkdir(exist_ok=True)
        stop_kept_service(self.home)
        self._start_store()
        self._render()
        self._search()
        self._leaderboard()
        self._promote()
        self._serve()
        self._analyse()
        self._finish()

    def _start_store(self) -> None:
        with _step(1, "Object store"):
            self.stack.callback(run_verb, "store", "stop", quiet=True)
            run_verb("store", "start")
            if self.fresh:
                self._forget()

    def _forget(self) -> None:
        from aufleet.storage import open_store
        from aufleet.storage.home import root_uri
        from aufleet.storage.local_server import use_store

        use_store(self.home)
        root = open_store(root_uri())
        name = self.size["experiment"]
        forgotten = sum(root.delete_below(f"{kind}/{name}") for kind in ("datasets", "experiments"))
        console.print(f"forgot {forgotten} objects of an earlier demo")

    def _render(self) -> None:
        with _step(2, "Synthetic faces"):
            subjects, frames = str(self.size["subjects"]), str(self.size["frames"])
            run_verb(
                *("data", "synth", "--name", self.size["experiment"]),
                *("--subjects", subjects, "--frames", frames, "--units", UNITS),
            )

    def _search(self) -> None:
        with _step(3, "Search"):
            run_verb("tune", self.size["experiment"])

    def _leaderboard(self) -> None:
        with _step(4, "Leaderboard"):
            run_verb("leaderboard", self.size["experiment"])

    def _promote(self) -> None:
        with _step(5, "Promotion"):
            # A folder that keeps its registry may have a champion that other faces taught.
            run_verb("promote", self.size["experiment"], "--force", "--reason", "the demo")

    def _serve(self) -> None:
        with _step(6, "Service"):
            self.stack.callback(self.service.stop)
            self.service.start("--model", f"{self.size['experiment']}@champion")

    def _analyse(self) -> None:
        pictures = write_pictures(self.folder)
        with _step(7, "Answers"):
            for picture in pictures:
                plot = picture.with_name(f"{picture.stem}-answer.png")
                run_verb("predict", str(picture), "--plot", str(plot))

    def _finish(self) -> None:
        with _step(8, "Where things lie"):
            console.print(f"pictures     {_short(self.folder)}")
            console.print(f"store        {_short(self.home / 'store')}  (aufleet store start)")
            console.print(f"MLflow       {_short(self.home / 'mlflow.db')}")
            if self.keep:
                self.stack.pop_all()
                console.print(
                    f"service      {_short(self.home / 'serve.json')} says how to reach it"
                )
                console.print(
                    f"             stop it with kill {self.service.pid}; aufleet store stop"
                )
            else:
                console.print("[dim]The service and the store are being stopped.[/]")


@contextmanager
def _step(number: int, title: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    console.print(f"[bold cyan]{number}/{NUM_STEPS}  {title}[/]")
    began = time.monotonic()
    yield
    console.print(f"[dim]{'':>5}{time.monotonic() - began:.1f} s[/]\n")


def write_pictures(folder: Path) -> list[Path]:
    """Write what the demo analyses: a real portrait and a synthetic face with palsy."""
    import cv2

    photo, palsy = folder / "astronaut.jpg", folder / "palsy.jpg"
    cv2.imwrite(str(photo), _astronaut()[..., ::-1])
    cv2.imwrite(str(palsy), _palsy_portrait()[..., ::-1])
    return [photo, palsy]


def _astronaut() -> "NDArray[np.uint8]":
    """Eileen Collins, NASA, public domain."""
    from skimage import data

    return data.astronaut()


def _palsy_portrait() -> "NDArray[np.uint8]":
    """A rendered face that smiles and closes the eyes as far as the patient's weak left lets it."""
    from aufleet.data.synthetic import Palsy, render_portrait
    from aufleet.domain.palsy import Side

    palsy = Palsy(side=Side.LEFT, severity=0.9)
    return render_portrait(seed=11, intensities={6: 3, 12: 4, 25: 2}, palsy=palsy).frame


def _short(path: Path) -> str:
    try:
        return f"./{path.resolve().relative_to(Path.cwd())}"
    except ValueError:
        return str(path)
