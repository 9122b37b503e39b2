"""Frames per second of an import: python tests/benchmarks/import_frames.py [--frames 400].

Two sources: `synthetic`, which is rendered, and a folder of videos, which are decoded, searched for
faces by MediaPipe and aligned. For each the CPU time of one core, read and encode as a task does,
and then whole imports through Ray with one process and with two, in turns; the best of each counts.
The growth from 1 to 2 is a ratio within one run, of whole imports: what they cost without any work
is part of both, and stands beside them. Ray Data begins with one task and takes a second for the
next ones, and notices the end of a task up to 0.2 s late, so short imports grow less; a subject of
BP4D has 3,600 frames. It fails where one core renders fewer than 100 frames a second.
"""

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import cv2

from aufleet.cli.ray_session import ray_session
from aufleet.data.importers import IMPORTERS, Importer, SubjectPlan, Unusable
from aufleet.data.importing import import_dataset
from aufleet.data.partition import encode_partition
from aufleet.data.publish import DatasetSpec
from aufleet.data.records import FrameRecord
from aufleet.data.synthetic import render_portrait
from aufleet.storage import Store, open_store

NUM_SUBJECTS = 6
NUM_WARM = 8
"""Frames of each subject with which processes are started and code is compiled."""
VIDEO_SIZE_PX, RATE_HZ = 480, 25
TARGET_RATE_HZ = 100
"""Synthetic frames a second and core (specs/data.md, section 4)."""
PROCESSES = (1, 2)
Run = Callable[[Importer, int], float]
"""Imports with so many processes and returns the frames a second."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Frames a second: of one core's CPU time, and of imports by one process and by two."""

    name: str
    core: float
    one: float
    two: float


@dataclass(frozen=True, kw_only=True)
class NoWork:
    """An importer whose frames are there already: its import is nothing but start and end."""

    record: FrameRecord
    name: str = "no work"
    units: tuple[int, ...] = ()
    parts: None = None

    def describe(self) -> str:
        return self.name

    def plan(self) -> tuple[Sequence[SubjectPlan], Sequence[Unusable]]:
        subjects = (f"S{number:02d}" for number in range(NUM_SUBJECTS))
        return [SubjectPlan(subject=one, num_frames=1, items=()) for one in subjects], []

    def read(self, plan: SubjectPlan) -> Iterator[FrameRecord | Unusable]:
        yield replace(self.record, subject=plan.subject, units=(), intensities=None)


def main() -> None:
    parser = argparse.ArgumentParser(description="Frames per second of an import.")
    parser.add_argument("--frames", type=int, default=400, help="of each subject")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sources = sources_of(Path(folder, "raw"), num_frames=options.frames)
        warm = sources_of(Path(folder, "warm"), num_frames=NUM_WARM)
        cores = {name: rate_of_core(sources[name], warm=warm[name]) for name in sources}
        run = runner(open_store(str(Path(folder, "root"))))
        with ray_session(num_cpus=max(PROCESSES)):
            rates_of_imports(run, warm, num_rounds=1)
            start_s = seconds_without_work(run, num_rounds=options.rounds)
            rates = rates_of_imports(run, sources, num_rounds=options.rounds)
    figures = [
        Figures(name=name, core=cores[name], one=rates[name, 1], two=rates[name, 2])
        for name in sources
    ]
    print_table(figures, start_s=start_s)
    if figures[0].core < TARGET_RATE_HZ:
        sys.exit(f"one core renders fewer than {TARGET_RATE_HZ} frames a second")


def sources_of(tree: Path, *, num_frames: int) -> dict[str, Importer]:
    """Return the importers, by what the table calls them."""
    write_videos(tree, num_frames=num_frames)
    return {
        "synthetic, bp4d": IMPORTERS["synthetic"]("bp4d", subjects=NUM_SUBJECTS, frames=num_frames),
        "folder of videos, MediaPipe": IMPORTERS["folder"](str(tree)),
    }


def write_videos(tree: Path, *, num_frames: int) -> None:
    """Write a video of each subject and the table of their labels."""
    tree.mkdir()
    with (tree / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["subject", "video", "AU12"])
        for number in range(NUM_SUBJECTS):
            name = f"S{number}.avi"
            photo = render_portrait(seed=number, size_px=VIDEO_SIZE_PX).frame[..., ::-1].copy()
            codec = cv2.VideoWriter.fourcc(*"MJPG")
            size = (VIDEO_SIZE_PX, VIDEO_SIZE_PX)
            video = cv2.VideoWriter(str(tree / name), codec, RATE_HZ, size)
            for _ in range(num_frames):
                video.write(photo)
            video.release()
            table.writerow([f"S{number}", name, number % 2])


def rate_of_core(importer: Importer, *, warm: Importer) -> float:
    """Return the frames a second of CPU time of one task, once it is warm."""
    _work(warm, place=0)
    started_s = time.process_time()
    num_frames = sum(_work(importer, place=place) for place in (0, NUM_SUBJECTS - 1))
    return num_frames / (time.process_time() - started_s)


def _work(importer: Importer, *, place: int) -> int:
    plans, _ = importer.plan()
    read = importer.read(plans[place])
    records = [record for record in read if isinstance(record, FrameRecord)]
    encode_partition(records, num_units=len(importer.units))
    return len(records)


def seconds_without_work(run: Run, *, num_rounds: int) -> float:
    """Return how long an import takes in which nothing is to be done."""
    faces = IMPORTERS["synthetic"]("faces", subjects=6, frames=1)
    record = next(iter(faces.read(faces.plan()[0][0])))
    assert isinstance(record, FrameRecord)
    nothing = NoWork(record=record)
    return min(NUM_SUBJECTS / run(nothing, max(PROCESSES)) for _ in range(num_rounds + 1))


def rates_of_imports(
    run: Run, importers: dict[str, Importer], *, num_rounds: int
) -> dict[tuple[str, int], float]:
    """Return (name, processes) -> frames a second of whole imports."""
    best: dict[tuple[str, int], float] = {}
    for _ in range(num_rounds):
        for name, importer in importers.items():
            for processes in PROCESSES:
                rate = run(importer, processes)
                best[name, processes] = max(rate, best.get((name, processes), 0.0))
    return best


def runner(store: Store) -> Run:
    """Return what imports into a store, each time as a version of its own."""
    versions = count(1)

    def run(importer: Importer, processes: int) -> float:
        spec = DatasetSpec(name="bench", version=str(next(versions)), seed=0)
        started_s = time.perf_counter()
        manifest = import_dataset(importer, spec=spec, store=store, parallelism=processes)
        return manifest.num_frames / (time.perf_counter() - started_s)

    return run


def print_table(figures: list[Figures], *, start_s: float) -> None:
    print(f"Every import costs at least {start_s:.2f} s: Ray Data's start and end, the manifest.\n")
    print("| source | frames/s of one core's time | 1 process | 2 processes | growth |")
    print("|---|---|---|---|---|")
    for row in figures:
        print(
            f"| {row.name} | {row.core:.0f} | {row.one:.0f} frames/s | {row.two:.0f} frames/s "
            f"| {row.two / row.one:.2f} x |"
        )


if __name__ == "__main__":
    main()
