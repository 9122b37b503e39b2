"""Nothing disappears: whatever a source lacks, frames in are records and unusable frames."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_trees.bp4d import TASKS, label_file, label_text
from raw_trees.disfa import SUBJECTS, video_file
from raw_trees.disfa import label_file as disfa_label_file
from raw_trees.faces import Photo, cut_off, damage_frame, write, write_video
from raw_trees.folder import table_file

from aufleet.domain.disfa import CODED_UNITS

NUMBERS = st.sets(st.integers(0, 40), max_size=12)
SLOW = settings(max_examples=15, deadline=None)


@SLOW
@given(pictures=NUMBERS, rows=NUMBERS, width=st.integers(1, 5))
def test_of_bp4d_every_picture_and_every_row_is_accounted_for(
    import_all, pictures, rows, width
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root / "F002/T1/1.jpg", b"")
        write(label_file(root, "F002", "T1"), label_text([1]))
        for number in pictures:
            write(root / "F001/T1" / f"{number:0{width}d}.jpg", b"")
        write(label_file(root, "F001", "T1"), label_text(sorted(rows) or [0]))

        imported = import_all("bp4d", root)

    absent = 39 * len(TASKS) + 2 * (len(TASKS) - 1)
    assert imported.num_frames == len(pictures | (rows or {0})) + 1 + absent


@SLOW
@given(rows=NUMBERS, keep=st.sampled_from([1.0, 0.7, 0.4]), damaged=st.sets(st.integers(0, 8)))
def test_of_disfa_every_frame_and_every_row_is_accounted_for(
    import_all, rows, keep, damaged
) -> None:
    labelled = {number + 1 for number in rows} | {1}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = write_video(video_file(root, "SN003"), [_blind()] * 9)
        for number in damaged:
            damage_frame(path, number)
        cut_off(path, keep=keep)
        for unit in CODED_UNITS:
            text = "".join(f"{frame},0\n" for frame in sorted(labelled))
            write(disfa_label_file(root, "SN003", unit), text)

        imported = import_all("disfa", root)

    assert imported.records == []
    assert imported.num_frames == len(labelled | set(range(1, 10))) + len(SUBJECTS) - 1


@SLOW
@given(rows=NUMBERS, coded=st.sets(st.integers(0, 40)), keep=st.sampled_from([1.0, 0.6]))
def test_of_a_labs_video_every_frame_and_every_row_is_accounted_for(
    import_all, rows, coded, keep
) -> None:
    labelled = rows | {0}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        cut_off(write_video(root / "film.avi", [_blind()] * 9), keep=keep)
        lines = [f"A,film.avi,{frame},{1 if frame in coded else 9}" for frame in labelled]
        write(table_file(root), "\n".join(["subject,video,frame,AU1", *lines]))

        imported = import_all("folder", root)

    assert imported.num_frames == len(labelled | set(range(9)))


def _blind() -> Photo:
    """A small picture without a face: searching it costs little."""
    return Photo(np.full((96, 96, 3), 90, np.uint8), np.zeros((49, 2)), np.zeros((68, 2)))
