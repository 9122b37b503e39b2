import numpy as np

from aufleet.data.importers.contract import SubjectPlan
from aufleet.data.importing.pipeline import _dealt


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
