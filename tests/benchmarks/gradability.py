"""How far heads turn, blur, shrink and get covered until the service calls them ungradable.

    .venv/bin/python tests/benchmarks/gradability.py --faces 24

Rendered people (fixed seeds) and one real portrait; each row says which share of the faces that are
found gets which reason. Thresholds: `aufleet.serving.gradability`.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import cv2
import numpy as np
import skimage.data

from aufleet.data.alignment import align
from aufleet.data.faces import FaceFinder
from aufleet.data.synthetic import Palsy
from aufleet.data.synthetic.expressions import activations_of
from aufleet.data.synthetic.identity import draw_identity
from aufleet.data.synthetic.render import FaceModel, RenderedFace
from aufleet.data.synthetic.scene import draw_scene
from aufleet.domain.landmarks import inter_ocular_distance
from aufleet.domain.palsy import Side
from aufleet.errors import FaceError
from aufleet.serving.gradability import judge_face, sharpness_of

SIZE = 512
EXPRESSIONS = ({}, {43: 5}, {12: 3}, {6: 3, 12: 4, 25: 2})


def portrait(seed: int, *, pose_deg: tuple[float, float, float] | None = None) -> RenderedFace:
    """Render one person; every third has a palsy, and some smile or close the eyes."""
    rng = np.random.default_rng([seed, SIZE])
    side = Side.LEFT if seed % 2 else Side.RIGHT
    model = FaceModel(
        draw_identity(rng), palsy=Palsy(side=side, severity=0.9) if seed % 3 else None
    )
    scene = draw_scene(rng)
    if pose_deg is not None:
        scene = replace(scene, pose_deg=np.array(pose_deg))
    to_frame = np.column_stack([SIZE / 38 * np.eye(2), SIZE * np.array([0.5, 0.46])])
    activations = activations_of(EXPRESSIONS[seed % len(EXPRESSIONS)], rng=rng)
    return model.render_photo(activations, scene, size_px=SIZE, to_frame=to_frame, rng=rng)


def blurred(frame: np.ndarray, sigma_px: float) -> np.ndarray:
    return cv2.GaussianBlur(frame, (0, 0), sigma_px) if sigma_px else frame


def moved(frame: np.ndarray, length_px: int) -> np.ndarray:
    kernel = np.zeros((length_px, length_px), np.float32)
    kernel[length_px // 2] = 1 / length_px
    return cv2.filter2D(frame, -1, kernel)


def shrunk(frame: np.ndarray, size_px: int) -> np.ndarray:
    return cv2.resize(frame, (size_px, size_px), interpolation=cv2.INTER_AREA)


def noisy(frame: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, deviation, frame.shape)
    return np.clip(frame + noise, 0, 255).astype(np.uint8)


def cut(face: RenderedFace, share: float) -> np.ndarray:
    left, right = face.landmarks_68[:, 0].min(), face.landmarks_68[:, 0].max()
    return np.ascontiguousarray(face.frame[:, int(left + share * (right - left)) :])


def covered(face: RenderedFace, part: str, cover: str) -> np.ndarray:
    frame, points, jaw = face.frame.copy(), face.landmarks, face.landmarks_68
    low, high = {
        "both eyes": (points[19:31].min(0) - 12, points[19:31].max(0) + 12),
        "one eye": (points[19:25].min(0) - 10, points[19:25].max(0) + 10),
        "mouth": (points[31:49].min(0) - 15, points[31:49].max(0) + 15),
        "nose to chin": ([jaw[2, 0], points[12, 1]], [jaw[14, 0], jaw[8, 1] + 10]),
    }[part]
    x, y = np.clip(low, 0, SIZE - 1).astype(int)
    right, bottom = np.clip(high, 0, SIZE - 1).astype(int)
    if cover == "patterned":
        skin = frame[int(points[13, 1]), int(points[31, 0])].astype(float)
        stripes = 18 * np.sin(np.arange(x, right) / 6)[None, :, None]
        frame[y:bottom, x:right] = np.clip(skin + stripes, 0, 255)
    else:
        frame[y:bottom, x:right] = {"black": (0, 0, 0), "blue": (120, 160, 200)}[cover]
    return frame


Frames = Callable[[], Iterator[np.ndarray]]
Each = Callable[[Callable[[RenderedFace], np.ndarray]], Frames]


def light_cases(each: Each) -> Iterator[tuple[str, Frames]]:
    yield "as rendered", each(lambda photo: photo.frame)
    yield "dark (a fifth)", each(lambda photo: (photo.frame * 0.2).astype(np.uint8))
    yield "noise of 10 levels", each(lambda photo: noisy(photo.frame, 10))


def turned_cases(turned: Callable[[float, float], Frames]) -> Iterator[tuple[str, Frames]]:
    for yaw in (15, 25, 30, 35, 40, 50, 60):
        yield f"yaw {yaw} degrees", turned(yaw, 0)
    for pitch in (-50, -40, -30, 30, 40, 50):
        yield f"pitch {pitch} degrees", turned(0, pitch)


def blurred_cases(each: Each) -> Iterator[tuple[str, Frames]]:
    for sigma_px in (1, 2, 3, 4, 5, 6):
        yield f"blur {sigma_px} px", each(lambda photo, s=sigma_px: blurred(photo.frame, s))
    yield "blur 5 px, noise of 5", each(lambda photo: noisy(blurred(photo.frame, 5), 5))
    for length_px in (17, 35):
        yield f"moved by {length_px} px", each(lambda photo, n=length_px: moved(photo.frame, n))
    for size_px in (192, 128, 96, 64):
        yield f"photo of {size_px} px", each(lambda photo, n=size_px: shrunk(photo.frame, n))


def covered_cases(each: Each) -> Iterator[tuple[str, Frames]]:
    for share in (0.05, 0.1, 0.15, 0.2):
        yield f"cut by {share:.0%}", each(lambda photo, s=share: cut(photo, s))
    for part in ("both eyes", "one eye", "mouth", "nose to chin"):
        for cover in ("black", "blue", "patterned"):
            yield f"{part} {cover}", each(lambda photo, p=part, c=cover: covered(photo, p, c))


def portrait_cases() -> Iterator[tuple[str, Frames]]:
    astronaut = skimage.data.astronaut()
    for sigma_px in (0, 1, 2, 3):
        yield f"portrait, blur {sigma_px} px", lambda s=sigma_px: iter([blurred(astronaut, s)])


def cases(num_faces: int) -> Iterator[tuple[str, Frames]]:
    """Yield the name of a case and what draws its frames."""
    photos = [portrait(seed) for seed in range(num_faces)]

    def each(change: Callable[[RenderedFace], np.ndarray]) -> Frames:
        return lambda: (change(photo) for photo in photos)

    def turned(yaw: float, pitch: float) -> Frames:
        return lambda: (
            portrait(seed, pose_deg=(yaw if seed % 2 else -yaw, pitch, 0)).frame
            for seed in range(num_faces)
        )

    yield from light_cases(each)
    yield from turned_cases(turned)
    yield from blurred_cases(each)
    yield from covered_cases(each)
    yield from portrait_cases()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=24)
    num_faces = parser.parse_args().faces
    finder = FaceFinder()
    print("| case | found | eye distance px | sharpness x 1000 | pose | blur | occlusion |")
    print("|---|---|---|---|---|---|---|")
    for name, frames in cases(num_faces):
        reasons, sharpness, distances, num = Counter(), [], [], 0
        for frame in frames():
            num += 1
            for face in finder.find(frame)[:1]:
                try:
                    aligned = align(frame, face.landmarks).frame
                except FaceError:
                    continue
                ungradable = judge_face(face, aligned, shape=frame.shape)
                reasons[ungradable.reason if ungradable else ""] += 1
                sharpness.append(1e3 * sharpness_of(aligned))
                distances.append(float(inter_ocular_distance(face.landmarks)))
        shares = [f"{reasons[each]}" for each in ("pose", "blur", "occlusion")]
        middle = f"{np.median(distances):.0f} | {np.median(sharpness):.1f}" if sharpness else " | "
        print(f"| {name} | {len(sharpness)}/{num} | {middle} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
