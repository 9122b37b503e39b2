"""Everything of a frame that is not the face: pose, light, background, lens and sensor."""

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from aufleet.data.synthetic.sensor import add_noise, store_light
from aufleet.data.synthetic.shading import Light

MAX_ANGLE_DEG = 20.0
_BLUR_WINDOW = (7, 7)
"""More than three standard deviations of the strongest blur to each side."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """How one frame is taken.

    Attributes:
        pose_deg: (3,) yaw (positive: to the picture's right), pitch (up), roll (clockwise).
        gaze_deg: (2,) yaw and pitch of the eyes in the head.
        distance_cm: From the camera to the head.
        lamp: (3,) unit vector to the key light in the camera's axes (right, up, to the viewer).
        key, sky, ground: (3,) linear colours of the key light and of ambient light from above and
            below.
        background_seed: Draws the background's colours and pattern.
        blur_px: Standard deviation of the lens's blur in pixels of the frame.
        noise: Standard deviation of the sensor's noise, in levels of 255.
        jpeg_quality: 1 to 100.
    """

    pose_deg: Vector
    gaze_deg: Vector
    distance_cm: float
    lamp: Vector
    key: Vector
    sky: Vector
    ground: Vector
    background_seed: int
    blur_px: float
    noise: float
    jpeg_quality: int

    @property
    def rotation(self) -> Vector:
        """The (3, 3) rotation of the head's axes to the camera's axes."""
        yaw, pitch, roll = self.pose_deg
        cos, sin = np.cos(np.deg2rad(roll)), np.sin(np.deg2rad(roll))
        about_z = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        return about_z @ turn(yaw_deg=yaw, pitch_deg=pitch)

    @property
    def light(self) -> Light:
        """What the shader needs to know of lamp, room and head."""
        right, up, _ = self.rotation.T
        values = (self.lamp, self.key, self.sky, self.ground, right, up)
        return Light(*(tuple(value.astype(np.float32)) for value in values))


def turn(*, yaw_deg: float, pitch_deg: float) -> Vector:
    """Return the (3, 3) rotation to the picture's right by a yaw after upward by a pitch."""
    yaw, pitch = np.deg2rad(yaw_deg), np.deg2rad(pitch_deg)
    cos, sin = np.cos(yaw), np.sin(yaw)
    about_y = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    cos, sin = np.cos(pitch), np.sin(pitch)
    return about_y @ np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])


def draw_scene(rng: np.random.Generator) -> Scene:
    """Return a random scene."""
    azimuth, height = np.deg2rad([rng.uniform(-65, 65), rng.uniform(-5, 60)])
    lamp = [np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)]
    exposure = rng.uniform(0.8, 1.2)
    ambient_share = rng.uniform(0.35, 0.8)
    warmth = rng.normal(0, 0.07)
    ambient = exposure * ambient_share * (1 + rng.normal(0, 0.04, 3))
    return Scene(
        pose_deg=np.clip(rng.normal(0, [9.0, 6.0, 7.0]), -MAX_ANGLE_DEG, MAX_ANGLE_DEG),
        gaze_deg=rng.normal(0, 4, 2),
        distance_cm=float(rng.uniform(50, 110)),
        lamp=np.array(lamp),
        key=exposure * (1 - ambient_share) * 1.35 * np.array([1 + warmth, 1.0, 1 - warmth]),
        sky=1.05 * ambient,
        ground=0.7 * ambient,
        background_seed=int(rng.integers(2**31)),
        blur_px=float(rng.uniform(0.0, 0.9)),
        noise=float(rng.uniform(0.5, 5.0)),
        jpeg_quality=int(rng.integers(70, 96)),
    )


def move_scene(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return the same scene a moment later: head and eyes have moved a little."""
    pose = np.clip(scene.pose_deg + rng.normal(0, 2.5, 3), -MAX_ANGLE_DEG, MAX_ANGLE_DEG)
    return replace(scene, pose_deg=pose, gaze_deg=scene.gaze_deg + rng.normal(0, 2, 2))


@lru_cache(maxsize=4)
def paint_background(seed: int, size_px: int) -> NDArray[np.float32]:
    """Return a blurred room: (size_px, size_px, 3) linear light, not to be written to."""
    rng = np.random.default_rng(seed)
    cells = int(rng.integers(2, 9))
    pattern = cv2.resize(
        rng.random((cells, cells), dtype=np.float32),
        (size_px, size_px),
        interpolation=cv2.INTER_CUBIC,
    )
    grey = rng.uniform(0.05, 0.9, (2, 1))
    low, high = np.clip(grey + rng.normal(0, 0.12, (2, 3)), 0, 1).astype(np.float32) ** 2
    room = low + np.clip(pattern, 0, 1)[..., None] * (high - low)
    room.flags.writeable = False
    return room


def expose(
    linear: NDArray[np.float32], scene: Scene, *, size_px: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return the frame that the camera stores: (size_px, size_px, 3) uint8 RGB.

    Args:
        linear: (S, S, 3) linear light, S at least size_px.
        scene: Gives blur and noise.
        size_px: Side of the frame.
        rng: Draws the noise.
    """
    frame = np.empty_like(linear)
    store_light(linear.reshape(-1), frame.reshape(-1))
    if len(frame) != size_px:
        # So close to the frame's size, linear weights are an area's, at a sixth of the time.
        frame = cv2.resize(frame, (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    if scene.blur_px > 0.2:
        frame = cv2.GaussianBlur(frame, _BLUR_WINDOW, scene.blur_px)
    noise = rng.standard_normal((size_px, size_px), dtype=np.float32)
    stored = np.empty(frame.shape, dtype=np.uint8)
    add_noise(np.asarray(frame, dtype=np.float32), noise, np.float32(scene.noise), stored)
    return stored
