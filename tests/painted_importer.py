"""An importer of painted frames, whose pictures tell who painted them; and a program that runs it.

    python painted_importer.py ROOT --red 40 --log FOLDER --pace 0.1

It leaves a line in FOLDER/<subject> whenever a subject is read, with the node that reads it.
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from aufleet.data.importers.contract import Parts, SubjectPlan, Unusable
from aufleet.data.records import FrameRecord
from aufleet.errors import DataError

NUM_FRAMES = 4
BROKEN = "broken"
DIES = "dies"
DIES_LATE = "dies late"
HEARD_S = 1.0
"""What was yielded so long ago has been heard."""


@dataclass(frozen=True, kw_only=True)
class PaintedImporter:
    """Six subjects or more with four frames and one that cannot be used."""

    log: str
    """Folder that takes a line for each subject that is read."""
    red: int = 40
    num_subjects: int = 6
    pace_s: float = 0.0
    """How long a frame takes."""
    num_nodes: int = 1
    """A subject waits until so many nodes have begun to read."""
    trouble: str = ""
    """What happens at the third subject in this run; not part of the import's identity."""
    name: str = "painted"
    units: tuple[int, ...] = (1, 12)
    parts: Parts | None = None

    def describe(self) -> str:
        return f"painted red {self.red}, {self.num_subjects} subjects"

    def plan(self) -> tuple[list[SubjectPlan], list[Unusable]]:
        plans = [
            SubjectPlan(subject=f"S{number:02d}", num_frames=NUM_FRAMES + 1, items=(number,))
            for number in range(self.num_subjects)
        ]
        return plans, [Unusable(subject="", sequence="T9", frame=None, reason="no such task")]

    def read(self, plan: SubjectPlan) -> Iterator[FrameRecord | Unusable]:
        self._note(plan.subject)
        self._await_nodes()
        (number,) = plan.items
        if number == 2:
            yield from self._meet_trouble(plan.subject)
        for frame in range(NUM_FRAMES):
            time.sleep(self.pace_s)
            yield painted(plan.subject, frame, red=self.red)
        yield Unusable(subject=plan.subject, sequence="T1", frame=NUM_FRAMES, reason="no face")

    def _note(self, subject: str) -> None:
        import ray

        node = ray.get_runtime_context().get_node_id()
        with Path(self.log, subject).open("a") as file:
            file.write(f"{node} {os.getpid()} {time.time()}\n")

    def _await_nodes(self) -> None:
        deadline = time.monotonic() + 120
        while len(self.nodes()) < self.num_nodes and time.monotonic() < deadline:
            time.sleep(0.05)

    def nodes(self) -> set[str]:
        """Return the nodes that have read."""
        files = Path(self.log).iterdir()
        return {line.split()[0] for file in files for line in file.read_text().splitlines()}

    def _meet_trouble(self, subject: str) -> Iterator[FrameRecord]:
        is_first = len(self.reads(subject)) == 1
        if self.trouble == BROKEN:
            raise DataError(f"the labels of {subject} are torn", "mend them")
        if self.trouble == "fault":
            raise ZeroDivisionError("nothing to divide by")
        if self.trouble == DIES_LATE and is_first:
            for frame in range(NUM_FRAMES):
                yield painted(subject, frame, red=self.red)
            time.sleep(HEARD_S)
        if self.trouble in (DIES, DIES_LATE) and is_first:
            os.kill(os.getpid(), 9)

    def reads(self, subject: str) -> list[str]:
        """Return the lines that reading a subject left."""
        file = Path(self.log, subject)
        return file.read_text().splitlines() if file.exists() else []


def painted(subject: str, frame: int, *, red: int) -> FrameRecord:
    """Return a frame whose red channel tells who painted it."""
    picture = np.zeros((200, 200, 3), dtype=np.uint8)
    picture[..., 2] = red
    return FrameRecord(
        subject=subject,
        sequence="T1",
        frame=frame,
        jpeg=cv2.imencode(".jpg", picture)[1].tobytes(),
        landmarks=np.random.default_rng(frame).uniform(20, 180, (49, 2)).astype(np.float32),
        landmark_source="exact",
        units=(frame % 2, 9),
    )


def main() -> None:
    """Connect to the cluster that RAY_ADDRESS names and import."""
    from aufleet.cli.ray_session import ray_session
    from aufleet.data.importing import import_dataset
    from aufleet.data.publish import DatasetSpec
    from aufleet.storage import open_store

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root")
    parser.add_argument("--log", required=True)
    parser.add_argument("--red", type=int, default=40)
    parser.add_argument("--pace", type=float, default=0.0)
    chosen = parser.parse_args()
    importer = PaintedImporter(log=chosen.log, red=chosen.red, pace_s=chosen.pace)
    with ray_session():
        import_dataset(
            importer,
            spec=DatasetSpec(name="faces", version="1", seed=0),
            store=open_store(chosen.root),
        )


if __name__ == "__main__":
    main()
