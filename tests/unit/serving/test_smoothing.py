import math

import numpy as np
import pytest

from aufleet.api.v1 import face_pb2
from aufleet.serving.pipeline import AnalyzedFace, AnalyzedFrame
from aufleet.serving.smoothing import FORGOTTEN, MAX_TRACKS, Smoother

HERE, THERE = (10.0, 10.0, 50.0, 60.0), (200.0, 10.0, 50.0, 60.0)
MISSING = AnalyzedFrame(status=face_pb2.FRAME_STATUS_NO_FACE)


def frame(*probabilities, box=HERE, side=None):
    face = AnalyzedFace(
        box=box,
        landmarks=np.zeros((49, 2)),
        probabilities=np.float32(probabilities),
        side=None if side is None else np.float32(side),
    )
    return AnalyzedFrame(status=face_pb2.FRAME_STATUS_OK, faces=(face,))


def several(*frames):
    return AnalyzedFrame(
        status=face_pb2.FRAME_STATUS_OK, faces=tuple(face for each in frames for face in each.faces)
    )


def run(*timed, time_constant_s=1.0, task="au", answered_by=None):
    """Return the first face's probabilities of each frame, None where it has none."""
    smoother = Smoother(time_constant_s)
    found = []
    for number, (time_s, each) in enumerate(timed):
        by = answered_by[number] if answered_by else "v1"
        smoothed = smoother.smooth(each, time_s=time_s, task=task, answered_by=by)
        found.append(smoothed.faces[0].probabilities if smoothed.faces else None)
    return found


def test_a_step_is_followed_with_the_time_constant():
    found = run((0.0, frame(0.0)), (0.5, frame(1.0)), (1.0, frame(1.0)), (3.0, frame(1.0)))
    expected = [1 - math.exp(-t) for t in (0.0, 0.5, 1.0, 3.0)]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-6)


def test_the_frames_own_times_count_not_their_number():
    rough = run((0.0, frame(0.0)), (1.0, frame(1.0)))
    fine = run((0.0, frame(0.0)), *[(k / 30, frame(1.0)) for k in range(1, 31)])
    np.testing.assert_allclose(fine[-1], rough[-1], rtol=1e-6)


def test_each_unit_is_smoothed_by_itself():
    found = run((0.0, frame(0.2, 0.9)), (1.0, frame(0.2, 0.1)))
    np.testing.assert_allclose(found[1], [0.2, 0.1 + 0.8 * math.exp(-1)], rtol=1e-6)


def test_grades_and_side_are_smoothed_as_log_probabilities_and_sum_to_one():
    smoother = Smoother(1.0)
    first, second = [0.7, 0.1, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]
    smoother.smooth(frame(*first, side=[0.1, 0.8, 0.1]), time_s=0.0, task="palsy", answered_by="v1")
    mixed = smoother.smooth(
        frame(*second, side=[0.1, 0.1, 0.8]), time_s=0.5, task="palsy", answered_by="v1"
    ).faces[0]
    kept = math.exp(-0.5)
    logs = kept * np.log(first) + (1 - kept) * np.log(second)
    np.testing.assert_allclose(mixed.probabilities, np.exp(logs) / np.exp(logs).sum(), rtol=1e-5)
    assert mixed.side.sum() == pytest.approx(1)
    assert mixed.side.argmax() == 1


def test_a_missing_face_neither_changes_nor_resets_the_state():
    with_gap = run((0.0, frame(0.0)), (0.4, MISSING), (0.8, MISSING), (1.0, frame(1.0)))
    without = run((0.0, frame(0.0)), (1.0, frame(1.0)))
    assert with_gap[1] is None
    np.testing.assert_array_equal(with_gap[-1], without[-1])


def test_another_face_is_not_mixed_with_the_first():
    found = run((0.0, frame(0.0)), (0.1, frame(1.0, box=THERE)), (0.2, frame(1.0)))
    assert found[1] == 1.0
    # The first face is still known where it was.
    assert found[2] == pytest.approx(1 - math.exp(-0.2))


def test_two_faces_keep_their_own_state_when_their_order_changes():
    smoother = Smoother(1.0)
    smoother.smooth(
        several(frame(0.0), frame(1.0, box=THERE)), time_s=0.0, task="au", answered_by="v1"
    )
    mixed = smoother.smooth(
        several(frame(1.0, box=THERE), frame(0.0)), time_s=0.5, task="au", answered_by="v1"
    )
    assert [float(face.probabilities[0]) for face in mixed.faces] == [1.0, 0.0]


def test_another_version_or_a_mirrored_picture_begins_anew():
    found = run((0.0, frame(0.0)), (0.1, frame(1.0)), answered_by=["v1", "v2"])
    assert found[1] == 1.0


def test_memory_is_bounded():
    smoother = Smoother(100.0)
    for k in range(MAX_TRACKS * 3):
        smoother.smooth(
            frame(0.5, box=(100.0 * k, 0.0, 50.0, 60.0)), time_s=0.1 * k, task="au", answered_by=1
        )
    assert len(smoother._tracks) == MAX_TRACKS
    smoother.smooth(MISSING, time_s=100.0 * FORGOTTEN + 20, task="au", answered_by=1)
    assert smoother._tracks == []


def test_what_was_not_judged_stays_so():
    ungraded = frame()
    found = run((0.0, frame(0.0)), (0.5, ungraded), (1.0, frame(1.0)))
    assert found[1].size == 0
    assert found[2] == pytest.approx(1 - math.exp(-1))
