import pickle
from itertools import pairwise

import numpy as np
import pytest
from raw_trees.bp4d import (
    SUBJECTS,
    TASKS,
    codes_of,
    label_file,
    label_text,
    write_bp4d,
    write_landmarks,
)
from raw_trees.faces import brightness, nobody, photo, write

from aufleet.data.importers import IMPORTERS
from aufleet.domain.action_units import BP4D_UNITS
from aufleet.domain.folds import BP4D_PARTS
from aufleet.domain.landmarks import POINTS_49_OF_68
from aufleet.errors import ConfigError, DataError

NOT_THERE = "sequence not in the source (counted as one)"


def test_all_41_subjects_and_8_tasks_are_planned_with_the_fixed_folds(tmp_path) -> None:
    for subject in SUBJECTS:
        for task in TASKS:
            write(label_file(tmp_path, subject, task), label_text([7, 8]))
    write(tmp_path / "F001/T1/7.jpg", b"")
    importer = IMPORTERS["bp4d"](str(tmp_path))

    plans, unusable = importer.plan()

    assert [plan.subject for plan in plans] == list(SUBJECTS)
    assert [plan.num_frames for plan in plans] == [16] * 41
    assert unusable == []
    assert importer.units == BP4D_UNITS
    assert [list(part) for part in importer.parts] == [list(part) for part in BP4D_PARTS]


def test_frames_of_any_padding_come_out_with_their_labels_and_their_own_picture(
    tmp_path, import_all
) -> None:
    num_frames = write_bp4d(tmp_path, subjects=SUBJECTS[:5], tasks=("T1", "T6"), frames=3)

    imported = import_all("bp4d", tmp_path)

    assert len(imported.records) == num_frames
    assert {len(record.units) for record in imported.records} == {12}
    for subject in SUBJECTS[:5]:
        for task in ("T1", "T6"):
            records = imported.of(subject, task)
            assert [record.units for record in records] == [
                codes_of(record.frame) for record in records
            ]
            assert _is_growing([brightness(record.jpeg) for record in records])
    assert {record.frame for record in imported.of("F005", "T1")} == {10_000, 10_001, 10_002}
    assert imported.reasons == {NOT_THERE: 36 * 8 + 5 * 6}
    assert all(record.landmarks_68 is not None for record in imported.records)
    assert all(record.intensities is None for record in imported.records)


def test_what_lacks_a_picture_a_row_or_a_face_is_counted_by_its_reason(
    tmp_path, import_all
) -> None:
    subject = "F001"
    pictures = {number: photo(0, step=number).jpeg for number in (3, 5, 6, 8, 9, 10, 14)}
    pictures[9], pictures[10] = nobody().jpeg, pictures[10][:-40]
    for number, content in pictures.items():
        write(tmp_path / subject / "T1" / f"{number:03d}.jpg", content)
    write(tmp_path / subject / "T1" / "5.jpg", pictures[5])
    write(tmp_path / subject / "T1" / "copy of 5.jpg", pictures[5])
    write(tmp_path / subject / "T1" / "005.obj", b"a mesh")
    write(tmp_path / subject / "T1" / ".DS_Store", b"")
    write(tmp_path / subject / "T2" / "000.jpg", pictures[5])
    text = label_text([5, 7, 8, 9, 10, 11]).replace(
        ",".join(map(str, (8, *codes_of(8, _columns())))), "8" + ",9" * len(_columns())
    )
    write(label_file(tmp_path, subject, "T1"), text)

    imported = import_all("bp4d", tmp_path)

    assert [(record.subject, record.frame) for record in imported.records] == [(subject, 5)]
    assert imported.reasons == {
        NOT_THERE: 40 * 8 + 6,
        "frame number stands twice": 1,
        "frame number cannot be read from the file name": 1,
        "outside the coded segment": 2,
        "frame file missing": 2,
        "label row missing": 1,
        "no unit is coded": 1,
        "no face found": 1,
        "frame cannot be decoded": 1,
        "label file missing": 1,
    }
    # 10 pictures and the 2 rows without one.
    assert imported.num_frames - imported.reasons[NOT_THERE] == 12
    missing = [item for item in imported.unusable if item.reason == "frame file missing"]
    assert [(item.sequence, item.frame) for item in missing] == [("T1", 7), ("T1", 11)]


def test_a_sequence_whose_pictures_are_missing_counts_whole(tmp_path, import_all) -> None:
    write_bp4d(tmp_path, subjects=("F001",), tasks=("T1", "T2"))
    write(label_file(tmp_path, "F001", "T3"), label_text(range(20, 26)))

    (lost,) = (item for item in import_all("bp4d", tmp_path).unusable if item.reason != NOT_THERE)

    assert (lost.sequence, lost.frame, lost.count) == ("T3", None, 6)


def test_pictures_beside_the_tasks_are_counted(tmp_path, import_all) -> None:
    write_bp4d(tmp_path, subjects=("F001",))
    write(tmp_path / "F001/0001.jpg", b"")

    (lost,) = (item for item in import_all("bp4d", tmp_path).unusable if item.reason != NOT_THERE)

    assert (lost.sequence, lost.count, lost.reason) == (".", 1, "label file missing")


def test_the_pictures_of_a_subject_without_any_label_are_counted(tmp_path, import_all) -> None:
    write_bp4d(tmp_path, subjects=("F001",))
    write(tmp_path / "M018/T2/0001.jpg", b"")
    write(tmp_path / "M018/T2/0002.jpg", b"")

    imported = import_all("bp4d", tmp_path)

    assert imported.reasons["label file missing"] == 2
    assert imported.importer.parts == (("F001",), (), ())


@pytest.mark.parametrize("folder", ["Sequences(2D+3D)", "2D+3D"])
def test_the_subjects_may_lie_in_the_folder_of_the_release(tmp_path, import_all, folder) -> None:
    write_bp4d(tmp_path, subjects=("F001",), folder=folder)

    assert len(import_all("bp4d", tmp_path).records) == 1


def test_the_landmarks_of_the_release_are_taken_one_pixel_nearer_to_zero(
    tmp_path, import_all
) -> None:
    write_bp4d(tmp_path, subjects=("F002",), frames=3, landmarks=True)

    records = import_all("bp4d", tmp_path).records

    assert {record.landmark_source for record in records} == {"release"}
    assert all(record.landmarks_68 is None for record in records)
    expected = _aligned(photo(0, step=0).landmarks)
    for step, record in enumerate(records):
        np.testing.assert_allclose(record.landmarks[:48], expected[:48], atol=1e-3)
        moved = record.landmarks[48] - expected[48]
        assert np.linalg.norm(moved) == pytest.approx(step * _scale(), abs=1e-2)


def test_a_frame_that_the_tracker_lost_is_found_by_mediapipe(tmp_path, import_all) -> None:
    from scipy.io import loadmat, savemat

    write_bp4d(tmp_path, subjects=("F002",), frames=2, landmarks=True)
    path = tmp_path / "2DFeatures" / "F002_T1.mat"
    fit = loadmat(path)["fit"]
    fit[0, 1]["pred"] = np.empty((0, 0))
    savemat(path, {"fit": fit})

    sources = [record.landmark_source for record in import_all("bp4d", tmp_path).records]

    assert sources == ["release", "mediapipe"]


def test_landmarks_that_are_not_as_many_as_the_pictures_are_left_aside(
    tmp_path, import_all
) -> None:
    write_bp4d(tmp_path, subjects=("F002",), frames=2, landmarks=True)
    write_landmarks(tmp_path, "F002", "T1", count=3, person=0)

    sources = {record.landmark_source for record in import_all("bp4d", tmp_path).records}

    assert sources == {"mediapipe"}


def test_landmarks_may_all_come_from_mediapipe(tmp_path, import_all) -> None:
    write_bp4d(tmp_path, subjects=("F002",), landmarks=True)

    (record,) = import_all("bp4d", tmp_path, landmarks="mediapipe").records

    assert record.landmark_source == "mediapipe"
    error = np.linalg.norm(record.landmarks - _aligned(photo(0, step=0).landmarks), axis=1)
    assert error.mean() < 5


def test_a_damaged_landmark_file_is_named(tmp_path, import_all) -> None:
    write_bp4d(tmp_path, subjects=("F002",), landmarks=True)
    write(tmp_path / "2DFeatures" / "F002_T1.mat", b"not a mat file")

    with pytest.raises(DataError, match=r"2DFeatures/F002_T1\.mat cannot be read .*mediapipe"):
        import_all("bp4d", tmp_path)


HEADER = "0,1,2,4,6,7,10,12,14,15,17,23,24\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"F001_T1\.csv is empty: copy it again, or remove it"),
        (HEADER, r"F001_T1\.csv has no row below its header: copy it again"),
        (HEADER.replace(",24", ",25"), r"F001_T1\.csv has no column 24 for AU24: columns 1, 2,"),
        ("7" + ",0" * 12 + "\n", r"F001_T1\.csv begins with '7': its first row holds 0"),
        (HEADER + "7" + ",0" * 11 + "\n", r"line 2 has 12 cells, its header has 13"),
        (HEADER + "7" + ",0" * 11 + ",2\n", r"line 2 has '2' for AU24: labels are 0, 1 and 9"),
        (HEADER + "x" + ",0" * 12 + "\n", r"line 2 begins with 'x': it begins with a frame"),
        (HEADER + 2 * ("7" + ",0" * 12 + "\n"), r"line 3 repeats frame 7: a frame stands once"),
        ("\xff\xfe\x00".encode("latin-1"), r"F001_T1\.csv is not UTF-8 text"),
        (",,\n", r"F001_T1\.csv is empty"),
    ],
)
def test_a_label_file_that_is_not_as_bp4ds_are_is_named(
    tmp_path, import_all, text, complaint
) -> None:
    write_bp4d(tmp_path, subjects=("F001",))
    write(label_file(tmp_path, "F001", "T1"), text)

    with pytest.raises(DataError, match=complaint):
        import_all("bp4d", tmp_path)


def test_label_files_of_other_people_are_refused(tmp_path, import_all) -> None:
    write_bp4d(tmp_path, subjects=("F001",))
    write(label_file(tmp_path, "F099", "T1"), label_text([1]))

    with pytest.raises(DataError, match=r"F099_T1\.csv names none of BP4D's 41 subjects"):
        import_all("bp4d", tmp_path)


def test_a_folder_that_is_not_bp4d_is_refused(tmp_path, import_all) -> None:
    with pytest.raises(DataError, match=r"no label file AUCoding/AU_OCC/.*: name the folder"):
        import_all("bp4d", tmp_path)
    write(label_file(tmp_path, "F001", "T1"), label_text([1]))
    with pytest.raises(DataError, match=r"no picture <subject>/<task>/<frame>\.jpg at"):
        import_all("bp4d", tmp_path)
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        import_all("bp4d", tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="crop cannot be 'lp': choose none or lpnet"):
        import_all("bp4d", tmp_path, crop="lp")


def test_labels_that_change_after_the_plan_are_refused(tmp_path) -> None:
    write_bp4d(tmp_path, subjects=("F001",))
    importer = IMPORTERS["bp4d"](str(tmp_path))
    (plan,), _ = importer.plan()
    write(label_file(tmp_path, "F001", "T1"), label_text([1, 2]))

    with pytest.raises(DataError, match=r"F001_T1\.csv was changed while it was imported: repeat"):
        list(importer.read(plan))


def test_importer_and_plans_travel_to_other_processes_and_tell_changes(tmp_path) -> None:
    write_bp4d(tmp_path, subjects=("F001",))
    importer = IMPORTERS["bp4d"](str(tmp_path), crop="lpnet")
    (plan,), _ = importer.plan()

    there, plan_there = pickle.loads(pickle.dumps((importer, plan)))

    assert there.describe() == importer.describe()
    assert importer.describe().startswith(f"bp4d from {tmp_path}, labels ")
    assert importer.describe().endswith(", landmarks=release, crop=lpnet")
    assert (there.parts, plan_there) == (importer.parts, plan)
    assert [record.frame for record in there.read(plan_there)][:1] == [1]
    write(label_file(tmp_path, "F001", "T1"), label_text([1, 2]))
    assert importer.plan()[0][0].items != plan.items
    assert importer.describe() != there.describe()


def _columns() -> tuple[int, ...]:
    from raw_trees.bp4d import CODED_COLUMNS

    return CODED_COLUMNS


def _is_growing(values: list[float]) -> bool:
    return all(before < after for before, after in pairwise(values))


def _aligned(points: np.ndarray) -> np.ndarray:
    from aufleet.data.alignment import alignment_of, apply_affine

    assert points.shape == (len(POINTS_49_OF_68), 2)
    return apply_affine(alignment_of(points), points)


def _scale() -> float:
    from aufleet.data.alignment import alignment_of

    return float(np.hypot(*alignment_of(photo(0, step=0).landmarks)[0, :2]))
