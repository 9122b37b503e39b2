import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aufleet.data.importers.contract import SubjectPlan, Unusable
from aufleet.data.importing.pipeline import _dealt
from aufleet.data.importing.receipts import Receipts
from aufleet.data.importing.subject import ImportJob, Tick, task
from aufleet.errors import DataError
from aufleet.storage import open_store


def test_tasks_have_about_as_many_frames_and_begin_with_their_longest_subject() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 203)
    plans = [
        SubjectPlan(subject=f"S{number}", num_frames=int(length), items=())
        for number, length in enumerate(lengths)
    ]

    dealt = list(_dealt(plans, num_tasks=20))

    assert sorted(plan.subject for plan in dealt) == sorted(plan.subject for plan in plans)
    # As Ray Data cuts rows into blocks: the first few are longer by one.
    tasks = np.split(
        np.array([plan.num_frames for plan in dealt]), np.cumsum([11, 11, 11, *16 * [10]])
    )
    assert all((np.diff(task) <= 0).all() for task in tasks)
    totals = [int(task.sum()) for task in tasks]
    assert max(totals) - min(totals) <= 100


@dataclass(frozen=True)
class Finds:
    """An importer that finds so many frames, none of them of use, whatever was planned."""

    counts: tuple[int, ...]
    fails: bool = False
    name: str = "finds"

    def read(self, plan: SubjectPlan) -> Iterator[Unusable]:
        for count in self.counts:
            yield Unusable(
                subject=plan.subject, sequence="T1", frame=None, reason="no face", count=count
            )
        if self.fails:
            raise DataError("the labels are torn", "mend them")


@pytest.mark.parametrize(
    "finds",
    [
        Finds(counts=(1,) * 10),
        Finds(counts=(7,)),
        Finds(counts=(1,) * 30),
        Finds(counts=()),
        Finds(counts=(1,) * 5, fails=True),
        Finds(counts=(), fails=True),
    ],
    ids=["as planned", "fewer at once", "more", "nothing", "fails half-way", "fails at once"],
)
def test_a_task_that_is_repeated_says_as_much_as_the_first(finds, tmp_path: Path) -> None:
    job = job_of(finds, tmp_path)

    said = list(said_by(job, SubjectPlan(subject="S1", num_frames=10, items=())))

    assert len(said) == 10 // job.frames_per_tick + 1
    assert isinstance(said[-1], DataError) is finds.fails


def test_a_task_says_how_far_it_is_as_it_goes(tmp_path: Path) -> None:
    job = job_of(Finds(counts=(1,) * 10), tmp_path)

    said = said_by(job, SubjectPlan(subject="S1", num_frames=10, items=()))

    assert [one.num_frames for one in said if isinstance(one, Tick)] == [3, 6, 9]


def job_of(importer: Any, folder: Path) -> ImportJob:
    receipts = Receipts(target=open_store(str(folder)), identity="finds")
    return ImportJob(importer=importer, receipts=receipts, num_units=2, frames_per_tick=3)


def said_by(job: ImportJob, plan: SubjectPlan) -> Iterator[Any]:
    for row in task({"plan": [pickle.dumps(plan)]}, job=job):
        yield from map(pickle.loads, row["said"])
