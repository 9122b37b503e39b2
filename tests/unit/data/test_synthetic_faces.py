from dataclasses import replace

import numpy as np
import pytest

from aufleet.data.alignment import align
from aufleet.data.faces import FaceFinder
from aufleet.data.synthetic import Palsy, RenderedFace, render_portrait
from aufleet.data.synthetic.expressions import EXERCISES, draw_intensities
from aufleet.data.synthetic.identity import draw_identity
from aufleet.data.synthetic.palsy import SEVERITY
from aufleet.data.synthetic.render import FaceModel
from aufleet.data.synthetic.scene import Scene, draw_scene
from aufleet.data.synthetic.units import LEFT, RIGHT, STRENGTH, UNITS
from aufleet.domain.landmarks import inter_ocular_distance, mirror
from aufleet.domain.palsy import Side
from aufleet.errors import ConfigError

# Of the 49 points; left and right are those of the picture.
INNER_BROWS, OUTER_BROWS = [4, 5], [1, 8]
UPPER_LIDS, LOWER_LIDS = [20, 21, 26, 27], [24, 23, 30, 29]
MOUTH_LEFT, MOUTH_RIGHT, UPPER_LIP, LOWER_LIP = 31, 37, 34, 40
INNER_UPPER_LIP, INNER_LOWER_LIP = 44, 47


@pytest.fixture(scope="module")
def scene() -> Scene:
    still = draw_scene(np.random.default_rng(0))
    return replace(still, pose_deg=np.zeros(3), gaze_deg=np.zeros(2), noise=0.0, blur_px=0.0)


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel(draw_identity(np.random.default_rng(4)))


def activate(unit: int, strength: float, *, sides: tuple[int, ...] = (RIGHT, LEFT)) -> np.ndarray:
    activations = np.zeros((len(UNITS), 2))
    activations[UNITS.index(unit), list(sides)] = strength
    return activations


def photo(model: FaceModel, activations: np.ndarray, scene: Scene) -> RenderedFace:
    to_frame = np.array([[20.0, 0.0, 200.0], [0.0, 20.0, 200.0]])
    rng = np.random.default_rng(0)
    return model.render_photo(activations, scene, size_px=400, to_frame=to_frame, rng=rng)


def gap(points: np.ndarray, above: list[int] | int, below: list[int] | int) -> float:
    return float(np.mean(points[below, 1] - points[above, 1]))


def test_each_unit_moves_what_facs_says(model: FaceModel, scene: Scene) -> None:
    rest = photo(model, np.zeros((len(UNITS), 2)), scene).landmarks

    def full(unit: int) -> np.ndarray:
        return photo(model, activate(unit, 1.0), scene).landmarks

    assert gap(full(1), INNER_BROWS, INNER_BROWS) == 0
    assert (rest - full(1))[INNER_BROWS, 1].min() > 8
    assert (rest - full(2))[OUTER_BROWS, 1].min() > 8
    assert (full(4) - rest)[INNER_BROWS, 1].min() > 8
    for unit in (6, 7, 43):
        assert gap(full(unit), UPPER_LIDS, LOWER_LIDS) < 0.8 * gap(rest, UPPER_LIDS, LOWER_LIDS)
    assert gap(full(43), UPPER_LIDS, LOWER_LIDS) < 0.2 * gap(rest, UPPER_LIDS, LOWER_LIDS)
    assert (rest - full(9))[14:19, 1].min() > 1
    assert (rest - full(10))[UPPER_LIP, 1] > 6
    assert (rest - full(12))[[MOUTH_LEFT, MOUTH_RIGHT], 1].min() > 8
    assert full(12)[MOUTH_RIGHT, 0] - full(12)[MOUTH_LEFT, 0] > rest[37, 0] - rest[31, 0] + 15
    assert full(14)[MOUTH_RIGHT, 0] - full(14)[MOUTH_LEFT, 0] > rest[37, 0] - rest[31, 0] + 8
    assert (full(15) - rest)[[MOUTH_LEFT, MOUTH_RIGHT], 1].min() > 8
    assert (rest - full(17))[LOWER_LIP, 1] > 4
    assert full(23)[MOUTH_RIGHT, 0] - full(23)[MOUTH_LEFT, 0] < rest[37, 0] - rest[31, 0] - 8
    assert gap(full(24), UPPER_LIP, LOWER_LIP) < 0.75 * gap(rest, UPPER_LIP, LOWER_LIP)
    assert gap(full(25), INNER_UPPER_LIP, INNER_LOWER_LIP) > 8
    assert gap(full(26), INNER_UPPER_LIP, INNER_LOWER_LIP) > 15


@pytest.mark.parametrize("unit", UNITS)
def test_every_movement_stays_smooth_and_visible_in_the_picture(
    unit: int, model: FaceModel, scene: Scene
) -> None:
    rest = photo(model, np.zeros((len(UNITS), 2)), scene)
    # Drawing the mouth to both sides at once leaves it where it is.
    sides = (LEFT,) if unit == 100 else (RIGHT, LEFT)
    acting = photo(model, activate(unit, STRENGTH[2], sides=sides), scene)
    difference = np.abs(acting.frame.astype(int) - rest.frame).max(axis=-1)
    assert (difference > 20).sum() > 150
    moved = np.linalg.norm(acting.landmarks - rest.landmarks, axis=1)
    assert moved.max() < 0.3 * inter_ocular_distance(rest.landmarks)


def test_a_trace_is_subtle_and_strength_grows_with_intensity() -> None:
    assert STRENGTH[0] == 0
    assert STRENGTH[1] < 0.3 * STRENGTH[2]
    assert (np.diff(STRENGTH) > 0).all()


def test_the_patients_left_is_on_the_right_of_the_picture(model: FaceModel, scene: Scene) -> None:
    rest = photo(model, np.zeros((len(UNITS), 2)), scene).landmarks
    left_smile = photo(model, activate(12, 1.0, sides=(LEFT,)), scene).landmarks
    assert rest[MOUTH_RIGHT, 1] - left_smile[MOUTH_RIGHT, 1] > 8
    assert abs(rest[MOUTH_LEFT, 1] - left_smile[MOUTH_LEFT, 1]) < 1


@pytest.mark.parametrize("side", [Side.LEFT, Side.RIGHT])
def test_palsy_of_a_side_weakens_that_side_only(side: Side, model: FaceModel, scene: Scene) -> None:
    sick, well = (MOUTH_RIGHT, MOUTH_LEFT) if side is Side.LEFT else (MOUTH_LEFT, MOUTH_RIGHT)
    sick_lids, well_lids = ([26, 27], [20, 21]) if side is Side.LEFT else ([20, 21], [26, 27])
    paretic = model.with_palsy(Palsy(side=side, severity=1.0))
    nothing = np.zeros((len(UNITS), 2))
    rest = photo(paretic, nothing, scene).landmarks
    smile = photo(paretic, activate(12, 1.0), scene).landmarks
    assert rest[well, 1] - smile[well, 1] > 8
    assert abs(rest[sick, 1] - smile[sick, 1]) < 2
    closing = photo(paretic, activate(43, 1.0), scene).landmarks
    assert (closing - rest)[well_lids, 1].min() > 4
    assert (closing - rest)[sick_lids, 1].max() < 4
    healthy = photo(model, nothing, scene).landmarks
    tilt = (rest[sick, 1] - rest[well, 1]) - (healthy[sick, 1] - healthy[well, 1])
    assert tilt > 8, "the sick corner of the mouth lies lower at rest"
    towards_well = np.sign(healthy[well, 0] - healthy[sick, 0])
    assert (rest - healthy)[LOWER_LIP, 0] * towards_well > 4, "the mouth is drawn across"


def test_asymmetry_grows_with_the_house_brackmann_score(model: FaceModel, scene: Scene) -> None:
    def asymmetry(score: int, exercise: str) -> float:
        palsy = Palsy(side=Side.LEFT if score > 1 else Side.NONE, severity=SEVERITY[score])
        activations = np.zeros((len(UNITS), 2))
        for unit, level in EXERCISES[exercise].items():
            activations[UNITS.index(unit)] = STRENGTH[level]
        points = photo(model.with_palsy(palsy), activations, scene).landmarks
        return float(np.abs(points - mirror(points, width=400)).mean())

    for exercise in EXERCISES:
        grown = [asymmetry(score, exercise) for score in range(1, 7)]
        assert grown[5] > grown[3] > grown[1] > grown[0], exercise


def test_a_palsy_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="outside of 0 to 1"):
        Palsy(side=Side.LEFT, severity=1.5)
    with pytest.raises(ConfigError, match="needs a side"):
        Palsy(side=Side.NONE, severity=0.5)


def test_the_aligned_frame_is_the_aligned_photo(model: FaceModel, scene: Scene) -> None:
    turned = replace(scene, pose_deg=np.array([12.0, -8.0, 15.0]))
    smile = activate(12, 0.8)
    straight = model.render_aligned(smile, turned, rng=np.random.default_rng(0))
    aligned = align((large := photo(model, smile, turned)).frame, large.landmarks)
    assert aligned.landmarks == pytest.approx(straight.landmarks, abs=0.02)
    # Not the background: it belongs to the camera's frame, not to the face.
    face = (slice(60, 160), slice(50, 150))
    difference = np.abs(aligned.frame[face].astype(int) - straight.frame[face])
    assert difference.mean() < 4


def test_palsy_changes_nothing_but_the_face() -> None:
    healthy = render_portrait(seed=2)
    paretic = render_portrait(seed=2, palsy=Palsy(side=Side.LEFT, severity=1.0))
    assert (healthy.frame[:60] == paretic.frame[:60]).all()
    assert (healthy.frame[:, :40] == paretic.frame[:, :40]).all()
    assert (healthy.frame != paretic.frame).any()


def test_a_portrait_is_the_same_for_the_same_seed_only() -> None:
    first, again, other = (render_portrait(seed=seed, size_px=128) for seed in (1, 1, 2))
    assert first.frame.shape == (128, 128, 3)
    assert (first.frame == again.frame).all()
    assert (first.frame != other.frame).any()
    with pytest.raises(ConfigError, match="too small"):
        render_portrait(seed=1, size_px=8)


def test_mediapipe_finds_the_portraits_where_they_are() -> None:
    finder, errors = FaceFinder(), []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        portrait = render_portrait(seed=seed, intensities=draw_intensities(rng))
        if found := finder.find(portrait.frame):
            distance = np.linalg.norm(found[0].landmarks - portrait.landmarks, axis=1)
            errors.append(distance.mean() / inter_ocular_distance(portrait.landmarks))
    assert len(errors) >= 38
    assert np.mean(errors) < 0.06
