"""Each reason with a real face: the demo's portrait, and a rendered head where it must turn."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data

from aufleet.data.alignment import align
from aufleet.data.faces import FaceFinder
from aufleet.data.synthetic.expressions import activations_of
from aufleet.data.synthetic.identity import draw_identity
from aufleet.data.synthetic.render import FaceModel
from aufleet.data.synthetic.scene import draw_scene
from aufleet.serving.gradability import (
    MAX_PITCH_DEG,
    MAX_YAW_DEG,
    MIN_SHARPNESS,
    judge_face,
    judge_sharpness,
    sharpness_of,
)

PORTRAIT = skimage.data.astronaut()
LEFT, TOP, WIDTH, HEIGHT = 180, 72, 90, 106
"""Where the face lies by eye."""


@pytest.fixture(scope="module")
def finder():
    return FaceFinder()


@pytest.fixture(scope="module")
def found(finder):
    (face,) = finder.find(PORTRAIT)
    return face


def judge(finder, frame):
    face = finder.find(frame)[0]
    return judge_face(face, align(frame, face.landmarks).frame, shape=frame.shape)


def blur(frame, sigma_px):
    return cv2.GaussianBlur(frame, (0, 0), sigma_px)


def cover(frame, *, top, bottom, colour):
    frame = frame.copy()
    frame[TOP + int(top * HEIGHT) : TOP + int(bottom * HEIGHT), LEFT - 10 : LEFT + WIDTH + 10] = (
        colour
    )
    return frame


FINE = {
    "as it is": lambda: PORTRAIT,
    "dark": lambda: (PORTRAIT * 0.2).astype(np.uint8),
    "a little blurred": lambda: blur(PORTRAIT, 0.8),
    "compressed": lambda: cv2.imdecode(cv2.imencode(".jpg", PORTRAIT, [1, 20])[1], 1),
    "cut beside the face": lambda: np.ascontiguousarray(PORTRAIT[:, LEFT:]),
    "half as large": lambda: cv2.resize(PORTRAIT, (256, 256), interpolation=cv2.INTER_AREA),
}


@pytest.mark.parametrize("name", FINE)
def test_a_usable_portrait_is_judged(finder, name):
    assert judge(finder, FINE[name]()) is None


UNGRADABLE = {
    "blurred": (lambda: blur(PORTRAIT, 2.5), "blur", "the face is blurred: sharpness 1"),
    "too small": (
        lambda: cv2.resize(PORTRAIT, (160, 160), interpolation=cv2.INTER_AREA),
        "blur",
        "the face is too small: 13 pixels between the eyes",
    ),
    "cut": (
        lambda: np.ascontiguousarray(PORTRAIT[:, LEFT + 20 :]),
        "occlusion",
        "of the face lie outside the picture",
    ),
    "masked": (
        lambda: cover(PORTRAIT, top=0.55, bottom=1.05, colour=(120, 160, 200)),
        "occlusion",
        "the mouth is covered",
    ),
    "eyes blanked out": (
        lambda: cover(PORTRAIT, top=0.1, bottom=0.45, colour=(0, 0, 0)),
        "occlusion",
        "an eye is covered",
    ),
}


@pytest.mark.parametrize("name", UNGRADABLE)
def test_an_unusable_portrait_says_why(finder, name):
    draw, reason, words = UNGRADABLE[name]
    ungradable = judge(finder, draw())
    assert ungradable is not None
    assert (ungradable.reason, words in ungradable.message) == (reason, True), ungradable


@pytest.mark.parametrize(("yaw", "pitch"), [(-12, 8), (25, 0), (50, 0), (-50, 0), (0, 50)])
def test_a_rendered_heads_pose_is_found_and_judged(finder, yaw, pitch):
    rng = np.random.default_rng(5)
    model, scene = FaceModel(draw_identity(rng)), draw_scene(rng)
    scene = replace(scene, pose_deg=np.array([yaw, pitch, 4.0]))
    photo = model.render_photo(
        activations_of({}, rng=rng),
        scene,
        size_px=256,
        to_frame=np.array([[6.7, 0.0, 128.0], [0.0, 6.7, 118.0]]),
        rng=rng,
    )
    found_yaw, found_pitch = finder.find(photo.frame)[0].pose_deg
    assert found_yaw == pytest.approx(yaw, abs=8)
    assert found_pitch == pytest.approx(pitch, abs=12)
    ungradable = judge(finder, photo.frame)
    is_turned = abs(yaw) > MAX_YAW_DEG or abs(pitch) > MAX_PITCH_DEG
    assert (ungradable.reason if ungradable else None) == ("pose" if is_turned else None)


def test_sharpness_does_not_take_noise_for_edges(found):
    aligned = align(blur(PORTRAIT, 3), found.landmarks).frame
    noisy = np.clip(aligned + np.random.default_rng(0).normal(0, 5, aligned.shape), 0, 255)
    assert sharpness_of(noisy.astype(np.uint8)) < MIN_SHARPNESS
    assert judge_sharpness(align(PORTRAIT, found.landmarks).frame) is None


def test_a_plain_surface_is_no_sharp_face():
    assert judge_sharpness(np.full((200, 200, 3), 99, np.uint8)).reason == "blur"
