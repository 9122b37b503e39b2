import numpy as np
import pytest
from raw_trees.disfa import (
    SUBJECTS,
    intensity_of,
    label_file,
    label_text,
    landmark_file,
    video_file,
    write_disfa,
    write_landmarks,
)
from raw_trees.faces import (
    brightness,
    cut_off,
    damage_frame,
    nobody,
    photo,
    portrait,
    write,
    write_video,
)

from aufleet.data.alignment import alignment_of
from aufleet.data.importers import IMPORTERS
from aufleet.data.importers.disfa_labels import units_of
from aufleet.domain.action_units import DISFA_UNITS
from aufleet.domain.disfa import CODED_UNITS
from aufleet.domain.folds import DISFA_PARTS
from aufleet.errors import DataError

NOT_THERE = "sequence not in the source (counted as one)"
REST = len(SUBJECTS) - 1


def test_all_27_subjects_are_planned_with_the_fixed_folds_and_12_units(tmp_path) -> None:
    for subject in SUBJECTS:
        for unit in CODED_UNITS:
            write(label_file(tmp_path, subject, unit), label_text(unit, range(1, 4)))
    write(video_file(tmp_path, "SN001"), b"")
    importer = IMPORTERS["disfa"](str(tmp_path))

    plans, unusable = importer.plan()

    assert [(plan.subject, plan.num_frames) for plan in plans] == [(s, 3) for s in SUBJECTS]
    assert unusable == []
    assert importer.units == (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
    assert set(DISFA_UNITS) < set(importer.units)
    assert [list(part) for part in importer.parts] == [list(part) for part in DISFA_PARTS]


def test_each_frame_has_its_picture_its_intensities_and_its_landmarks(tmp_path, import_all) -> None:
    num_frames = write_disfa(tmp_path, subjects=SUBJECTS[:3], frames=5)

    imported = import_all("disfa", tmp_path)

    assert len(imported.records) == num_frames == imported.num_frames - 24
    assert imported.reasons == {NOT_THERE: 24}
    for subject in SUBJECTS[:3]:
        records = imported.of(subject, "left")
        assert [record.frame for record in records] == [1, 2, 3, 4, 5]
        lights = [brightness(record.jpeg) for record in records]
        assert lights == sorted(lights)
        assert len(set(lights)) == 5
        for record in records:
            levels = tuple(intensity_of(unit, record.frame) for unit in CODED_UNITS)
            assert record.intensities == levels
            assert record.units == tuple(int(level >= 2) for level in levels)
            assert record.landmark_source == "release"
        assert _steps(records, person=SUBJECTS.index(subject)) == [0, 1, 2, 3, 4]


def test_of_one_landmark_file_too_many_the_first_is_dropped(tmp_path, import_all) -> None:
    write_disfa(tmp_path, subjects=("SN003",), frames=4)
    write_landmarks(tmp_path, "SN003", number=4, one=photo(0, step=0))

    records = import_all("disfa", tmp_path).records

    assert _steps(records) == [1, 2, 3, 4]


def test_a_missing_landmark_file_moves_no_other_and_mediapipe_stands_in(
    tmp_path, import_all
) -> None:
    write_disfa(tmp_path, subjects=("SN031",), frames=5)
    landmark_file(tmp_path, "SN031", 2).unlink()
    write(landmark_file(tmp_path, "SN031", 3), b"damaged")

    records = import_all("disfa", tmp_path).records

    sources = [record.landmark_source for record in records]
    assert sources == ["release", "release", "mediapipe", "mediapipe", "release"]
    assert _steps([records[0], records[1], records[4]]) == [0, 1, 4]


def test_landmarks_that_fit_no_frame_are_an_error(tmp_path, import_all) -> None:
    write_disfa(tmp_path, subjects=("SN003",), frames=2)
    write_landmarks(tmp_path, "SN003", number=3, one=photo(0, step=0))

    with pytest.raises(DataError, match=r"SN003 has landmarks up to number 3 for 2 frames: copy"):
        import_all("disfa", tmp_path)
    assert len(import_all("disfa", tmp_path, landmarks="mediapipe").records) == 2


def test_a_release_without_landmarks_is_looked_at_by_mediapipe(tmp_path, import_all) -> None:
    write_disfa(tmp_path, subjects=("SN003",), frames=2, landmarks=False)

    records = import_all("disfa", tmp_path).records

    assert [record.landmark_source for record in records] == ["mediapipe"] * 2
    assert all(record.landmarks_68 is not None for record in records)


def test_frames_with_failed_landmarks_are_left_out_and_counted(tmp_path, import_all) -> None:
    # SN001 fails in frames 398 to 420 first.
    for unit in CODED_UNITS:
        write(label_file(tmp_path, "SN001", unit), label_text(unit, range(396, 423)))
    write_video(video_file(tmp_path, "SN001"), [photo(0, step=0)] * 422)

    imported = import_all("disfa", tmp_path)

    assert [record.frame for record in imported.records] == [396, 397, 421, 422]
    assert imported.reasons == {
        NOT_THERE: REST,
        "landmarks known to have failed": 23,
        "label row missing": 395,
    }


def test_missing_rows_are_not_coded_and_frames_without_any_row_are_counted(
    tmp_path, import_all
) -> None:
    write_disfa(tmp_path, subjects=("SN003",), frames=4)
    for unit in CODED_UNITS:
        rows = (1, 3) if unit == 12 else (1, 2, 3)
        write(label_file(tmp_path, "SN003", unit), label_text(unit, rows))

    imported = import_all("disfa", tmp_path)

    column = CODED_UNITS.index(12)
    assert [record.units[column] for record in imported.records] == [0, 9, 1]
    assert [record.intensities[column] for record in imported.records] == [1, -1, 3]
    assert imported.reasons == {NOT_THERE: REST, "label row missing": 1}


def test_a_video_that_is_cut_off_loses_its_end_and_nothing_else(tmp_path, import_all) -> None:
    num_frames = write_disfa(tmp_path, subjects=("SN003",), frames=10)
    cut_off(video_file(tmp_path, "SN003"), keep=0.55)

    imported = import_all("disfa", tmp_path)

    kept = len(imported.records)
    assert 3 <= kept <= 6
    assert _steps(imported.records) == list(range(kept))
    assert imported.reasons == {NOT_THERE: REST, "video ends early": num_frames - kept}


def test_a_damaged_frame_costs_itself_alone(tmp_path, import_all) -> None:
    write_disfa(tmp_path, subjects=("SN003",), frames=6)
    damage_frame(video_file(tmp_path, "SN003"), 2)

    imported = import_all("disfa", tmp_path)

    assert [record.frame for record in imported.records] == [1, 2, 4, 5, 6]
    assert _steps(imported.records) == [0, 1, 3, 4, 5]
    assert imported.reasons == {NOT_THERE: REST, "frame cannot be decoded": 1}


def test_labels_beyond_the_video_and_frames_without_a_face_are_counted(
    tmp_path, import_all
) -> None:
    write_disfa(tmp_path, subjects=("SN003",), frames=3, landmarks=False)
    write_video(video_file(tmp_path, "SN003"), [photo(0, step=0), nobody(), photo(0, step=1)])
    for unit in CODED_UNITS:
        write(label_file(tmp_path, "SN003", unit), label_text(unit, range(1, 6)))

    imported = import_all("disfa", tmp_path)

    assert [record.frame for record in imported.records] == [1, 3]
    assert imported.reasons == {
        NOT_THERE: REST,
        "no face found": 1,
        "frame lies behind the end of its video": 2,
    }


def test_a_video_that_is_missing_or_no_video_costs_its_labelled_frames(
    tmp_path, import_all
) -> None:
    write_disfa(tmp_path, subjects=("SN003", "SN004"), frames=3, landmarks=False)
    video_file(tmp_path, "SN003").unlink()
    write(video_file(tmp_path, "SN004"), b"RIFF but no more")
    write_video(video_file(tmp_path, "SN005"), [photo(0, step=0)])

    assert import_all("disfa", tmp_path).reasons == {
        "video file missing": 3,
        "video cannot be opened": 3,
        "label file missing": 1,
        NOT_THERE: len(SUBJECTS) - 3,
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"SN003_au5\.txt is empty: copy it again"),
        ("1,0\n2,6\n", r"SN003_au5\.txt line 2 has intensity 6 for AU5: intensities are 0 to 5"),
        ("1,0\n2;1\n", r"SN003_au5\.txt line 2 is '2;1': a line is frame,intensity"),
        ("0,0\n", r"line 1 is '0,0': a line is frame,intensity, frames from 1"),
        ("1,0\n\n1,1\n", r"line 3 repeats frame 1: a frame stands once"),
    ],
)
def test_a_label_file_that_is_not_as_disfas_are_is_named(
    tmp_path, import_all, text, complaint
) -> None:
    write_disfa(tmp_path, subjects=("SN003",), frames=1, landmarks=False)
    write(label_file(tmp_path, "SN003", 5), text)

    with pytest.raises(DataError, match=complaint):
        import_all("disfa", tmp_path)


def test_a_folder_that_is_not_disfa_is_refused(tmp_path, import_all) -> None:
    with pytest.raises(DataError, match=r"no label file ActionUnit_Labels/SN001/SN001_au1\.txt at"):
        import_all("disfa", tmp_path)
    for unit in CODED_UNITS[1:]:
        write(label_file(tmp_path, "SN003", unit), "1,0\n")
    with pytest.raises(DataError, match=r"has no SN003_au1\.txt of SN003: copy it from the rel"):
        import_all("disfa", tmp_path)
    write(label_file(tmp_path, "SN003", 1), "1,0\n")
    with pytest.raises(DataError, match=r"no video Videos_LeftCamera/LeftVideoSN001_comp\.avi"):
        import_all("disfa", tmp_path)
    write(label_file(tmp_path, "SN099", 1), "1,0\n")
    with pytest.raises(DataError, match="has labels of SN099, none of DISFA's 27 subjects"):
        import_all("disfa", tmp_path)


def test_intensities_count_from_2_on() -> None:
    assert units_of((-1, 0, 1, 2, 5)) == (9, 0, 0, 1, 1)


def _steps(records: list, *, person: int = 0) -> list[int]:
    """How far each record's last point was moved before alignment."""
    points = portrait(person).landmarks
    affine = alignment_of(points)
    scale = np.hypot(*affine[0, :2])
    expected = points[48] @ affine[:, :2].T + affine[:, 2]
    moved = [np.linalg.norm(record.landmarks[48] - expected) / scale for record in records]
    assert np.allclose(moved, np.round(moved), atol=0.02)
    return [round(step) for step in moved]
