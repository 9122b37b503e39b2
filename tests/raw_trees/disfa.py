"""Small trees in the format of DISFA, with its quirks."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from raw_trees.faces import Photo, photo, write, write_video
from scipy.io import savemat

from aufleet.domain.disfa import CODED_UNITS
from aufleet.domain.folds import DISFA_PARTS

SUBJECTS = tuple(sorted(subject for part in DISFA_PARTS for subject in part))
_KEPT_66 = [point for point in range(68) if point not in (60, 64)]


def write_disfa(
    root: Path, *, subjects: Sequence[str] = SUBJECTS, frames: int = 4, landmarks: bool = True
) -> int:
    """Write a video of `frames` frames for each subject and return how many frames there are.

    Every third subject's landmark files are called `l00000_lm.mat`.
    """
    for person, subject in enumerate(subjects):
        photos = [photo(person, step=step) for step in range(frames)]
        write_video(video_file(root, subject), photos)
        for unit in CODED_UNITS:
            write(label_file(root, subject, unit), label_text(unit, range(1, frames + 1)))
        if landmarks:
            for step, one in enumerate(photos):
                write_landmarks(root, subject, number=step, one=one, short=person % 3 == 2)
    return len(subjects) * frames


def video_file(root: Path, subject: str) -> Path:
    return root / "Videos_LeftCamera" / f"LeftVideo{subject}_comp.avi"


def label_file(root: Path, subject: str, unit: int) -> Path:
    return root / "ActionUnit_Labels" / subject / f"{subject}_au{unit}.txt"


def label_text(unit: int, frames: Sequence[int]) -> str:
    return "".join(f"{frame},{intensity_of(unit, frame)}\r\n" for frame in frames)


def intensity_of(unit: int, frame: int) -> int:
    return (unit + frame) % 6


def landmark_file(root: Path, subject: str, number: int, *, short: bool = False) -> Path:
    name = f"l0{number:04d}_lm.mat" if short else f"{subject}_{number:04d}_lm.mat"
    return root / "Landmark_Points" / subject / "tmp_frame_lm" / name


def write_landmarks(
    root: Path, subject: str, *, number: int, one: Photo, short: bool = False
) -> Path:
    """Write 66 points; the last one tells which frame: it is moved by `number` pixels."""
    points = one.landmarks_68[_KEPT_66].astype(np.float64)
    points[65, 1] += number
    content = io.BytesIO()
    savemat(content, {"pts": points})
    return write(landmark_file(root, subject, number, short=short), content.getvalue())
