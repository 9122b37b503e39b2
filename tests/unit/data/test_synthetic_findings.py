"""House and Brackmann's findings, read off the landmarks of a rendered face."""

from dataclasses import replace

import numpy as np
import pytest

from aufleet.data.synthetic.courses import Manner
from aufleet.data.synthetic.expressions import EXERCISES
from aufleet.data.synthetic.house_brackmann import FINDINGS, GradedPalsy, graded_palsy
from aufleet.data.synthetic.identity import draw_identity
from aufleet.data.synthetic.render import FaceModel
from aufleet.data.synthetic.scene import Scene, draw_scene
from aufleet.data.synthetic.units import UNITS
from aufleet.domain.palsy import Side
from aufleet.errors import DataError

LEFT_LIDS, RIGHT_LIDS = ([26, 27], [30, 29]), ([20, 21], [24, 23])
OUTER_BROWS = {Side.LEFT: 7, Side.RIGHT: 2}
MOUTH_CORNERS = {Side.LEFT: 37, Side.RIGHT: 31}


@pytest.fixture(scope="module")
def scene() -> Scene:
    still = draw_scene(np.random.default_rng(0))
    return replace(still, pose_deg=np.zeros(3), gaze_deg=np.zeros(2), noise=0.0, blur_px=0.0)


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel(draw_identity(np.random.default_rng(4)))


def points(
    model: FaceModel, score: int, exercise: str, scene: Scene, *, side: Side = Side.LEFT
) -> np.ndarray:
    """Return the landmarks (49, 2) at the apex of an exercise."""
    affected = side if score > 1 else Side.NONE
    palsy = GradedPalsy(side=affected, severity=0.0, findings=FINDINGS[score])
    levels = {unit: np.array([float(level)]) for unit, level in EXERCISES[exercise].items()}
    told = Manner(np.random.default_rng(0)).activations({**levels, 100: np.zeros(1)})[0]
    to_frame = np.array([[20.0, 0.0, 200.0], [0.0, 20.0, 200.0]])
    rng = np.random.default_rng(0)
    paretic = model.with_palsy(palsy)
    return paretic.render_photo(told, scene, size_px=400, to_frame=to_frame, rng=rng).landmarks


def opening(shape: np.ndarray, side: Side) -> float:
    upper, lower = LEFT_LIDS if side is Side.LEFT else RIGHT_LIDS
    return float(np.mean(shape[lower, 1] - shape[upper, 1]))


def test_the_eye_closes_up_to_score_3_with_effort_and_not_beyond(
    model: FaceModel, scene: Scene
) -> None:
    def open_share(score: int, exercise: str) -> float:
        rest = opening(points(model, 1, "rest", scene), Side.LEFT)
        return opening(points(model, score, exercise, scene), Side.LEFT) / rest

    tightly = [open_share(score, "close eyes tightly") for score in range(1, 7)]
    gently = [open_share(score, "close eyes gently") for score in range(1, 7)]
    assert max(tightly[:3]) < 0.2
    assert gently[1] < 0.25
    assert tightly[3] > 0.2
    assert sorted(gently) == gently
    assert gently[4] > 0.6
    assert gently[5] > 0.8


def test_the_forehead_moves_up_to_score_3_and_not_beyond(model: FaceModel, scene: Scene) -> None:
    def lift(score: int) -> float:
        rest, raised = (points(model, score, name, scene) for name in ("rest", "raise brows"))
        brow = OUTER_BROWS[Side.LEFT]
        return float(rest[brow, 1] - raised[brow, 1])

    lifts = [lift(score) for score in range(1, 7)]
    assert lifts[0] > lifts[1] > lifts[2] > 0.2 * lifts[0]
    assert max(lifts[3:]) < 0.1 * lifts[0]


def test_the_resting_face_is_even_up_to_score_4(model: FaceModel, scene: Scene) -> None:
    def unevenness(score: int) -> float:
        shape = points(model, score, "rest", scene)
        healthy = points(model, 1, "rest", scene)
        return float(np.abs(shape - healthy).mean())

    uneven = [unevenness(score) for score in range(1, 7)]
    assert sorted(uneven) == uneven
    assert uneven[3] < 0.3 * uneven[5]
    assert uneven[4] > 0.6 * uneven[5]


def test_eye_and_mouth_move_together_at_the_middle_scores(model: FaceModel, scene: Scene) -> None:
    def narrowing(score: int) -> float:
        """Return how much more the sick eye narrows in smiling than the healthy one."""
        rest, smile = (points(model, score, name, scene) for name in ("rest", "smile"))
        sick, well = (
            opening(rest, side) - opening(smile, side) for side in (Side.LEFT, Side.RIGHT)
        )
        return sick - well

    assert narrowing(4) > 2
    assert narrowing(6) < 1
    assert narrowing(1) < 1


@pytest.mark.parametrize("exercise", [name for name in EXERCISES if name != "rest"])
@pytest.mark.parametrize("side", [Side.LEFT, Side.RIGHT])
def test_a_face_is_the_more_uneven_the_higher_the_grade(
    exercise: str, side: Side, model: FaceModel, scene: Scene
) -> None:
    def unevenness(score: int) -> float:
        # Against the same person's healthy face: everybody's is a little uneven.
        shape, healthy = (points(model, s, exercise, scene, side=side) for s in (score, 1))
        return float(np.abs(shape - healthy).mean())

    by_score = [unevenness(score) for score in range(1, 7)]
    low, medium, high = by_score[1], np.mean(by_score[2:4]), np.mean(by_score[4:])
    assert by_score[0] < low < medium < high


def test_a_score_is_drawn_a_little_milder_or_worse() -> None:
    rng = np.random.default_rng(0)
    drawn = [graded_palsy(3, side=Side.RIGHT, rng=rng).findings.mouth for _ in range(50)]
    assert 0.43 < min(drawn) < max(drawn) < 0.57
    assert np.std(drawn) > 0.01
    assert graded_palsy(1, side=Side.RIGHT, rng=rng).side is Side.NONE
    with pytest.raises(DataError, match="score 7"):
        graded_palsy(7, side=Side.LEFT, rng=rng)


def test_nothing_that_is_told_of_a_palsy_moves_a_healthy_face() -> None:
    told = np.random.default_rng(0).random((len(UNITS), 2))
    healthy = GradedPalsy(side=Side.NONE, severity=0.0, findings=FINDINGS[1])
    assert (healthy.apply(told) == told).all()
