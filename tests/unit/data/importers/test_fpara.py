import pytest
from raw_trees.faces import cut_off, photo, write, write_video
from raw_trees.fpara import HEADER, table_file, write_fpara

from aufleet.data.importers import FPARA_COLUMNS, IMPORTERS
from aufleet.data.publish import DatasetSpec, publish_dataset
from aufleet.domain.palsy import Grade
from aufleet.errors import DataError, ObjectMissingError


def test_every_frame_of_an_examination_has_its_grade_side_and_exercise(
    tmp_path, import_all
) -> None:
    num_frames = write_fpara(tmp_path, subjects=6, frames=3)

    imported = import_all("fpara", tmp_path)

    assert len(imported.records) == num_frames == imported.num_frames
    assert sum(plan.num_frames for plan in imported.plans) == num_frames
    assert imported.importer.units == ()
    assert imported.importer.parts is None
    scores = {record.subject: record.house_brackmann for record in imported.records}
    assert list(scores.values()) == [1, 2, 3, 4, 5, 6]
    grades = [imported.of(subject)[0].grade for subject in scores]
    assert grades == [Grade.NORMAL, Grade.LOW, Grade.MEDIUM, Grade.MEDIUM, Grade.HIGH, Grade.HIGH]
    assert [imported.of(subject)[0].side for subject in scores][:3] == ["none", "right", "left"]
    assert {record.exercise for record in imported.records} == {"smile"}
    assert [record.frame for record in imported.of("P02", "videos/P02/smile")] == [0, 1, 2]
    assert {record.landmark_source for record in imported.records} == {"mediapipe"}


def test_folds_are_balanced_by_grade_and_share_no_subject(tmp_path, import_all, store) -> None:
    write_fpara(tmp_path / "raw", subjects=18, frames=1)
    imported = import_all("fpara", tmp_path / "raw")
    subjects = [(plan.subject, imported.of(plan.subject)) for plan in imported.plans]
    spec = DatasetSpec(name="fpara", version="1", units=(), source="a test", seed=0)

    manifest = publish_dataset(subjects, spec=spec, store=store)

    worst = {subject: records[0].grade for subject, records in subjects}
    for fold in manifest.folds:
        grades = sorted(worst[subject] for subject in fold.test)
        assert grades == [0, 1, 2, 2, 3, 3]
        assert not set(fold.test) & {*fold.train, *fold.validation}


def test_scores_may_be_roman_and_cells_empty(tmp_path, import_all) -> None:
    write_video(tmp_path / "a b.avi", [photo(0, step=0)])
    write(table_file(tmp_path), "subject;video;house_brackmann;side;doctor\nP1;a b.avi;iv;L;X\n")

    (record,) = import_all("fpara", tmp_path).records

    assert (record.house_brackmann, record.grade, record.side) == (4, 2, "left")
    assert (record.sequence, record.exercise) == ("a b", "")


def test_videos_that_are_missing_damaged_or_not_named_are_counted(tmp_path, import_all) -> None:
    num_frames = write_fpara(tmp_path, subjects=4, frames=8)
    videos = sorted((tmp_path / "videos").glob("*/smile.avi"))
    videos[0].unlink()
    write(videos[1], b"no video at all")
    cut_off(videos[2], keep=0.5)
    write_video(tmp_path / "videos/extra.avi", [photo(0, step=0)])

    imported = import_all("fpara", tmp_path)

    assert [len(imported.of(f"P0{number}")) > 0 for number in (1, 2, 3, 4)] == [False, False, 1, 1]
    early = imported.reasons.pop("video ends early")
    assert len(imported.records) + early == num_frames - 16
    assert imported.reasons == {
        "video ends early": early,
        "video file missing": 1,
        "video cannot be opened": 1,
        "label row missing": 1,
    }
    (unnamed,) = (item for item in imported.unusable if item.reason == "label row missing")
    assert (unnamed.subject, unnamed.sequence) == ("", "videos/extra.avi")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"examinations\.csv is empty: copy it again"),
        (f"{HEADER}\n", r"examinations\.csv has no row below its header"),
        ("subject,video,score\nP1,a.avi,1\n", r"has no column house_brackmann, only subject, vid"),
        (
            "subject,video,house_brackman\nP1,a.avi,1\n",
            r"has a column 'house_brackman': call it house_brackmann",
        ),
        (f"{HEADER},side\n", "has the column 'side' twice"),
        (f"{HEADER}\nP1,a.avi,1,left\n", "line 2 has 4 cells, its header has 5"),
        (f"{HEADER}\nP1,a.avi,7,left,\n", "line 2 has house_brackmann '7': it is a whole number"),
        (f"{HEADER}\nP1,a.avi,,left,\n", "line 2 has no house_brackmann: grade the examination"),
        (f"{HEADER}\nP1,a.avi,2,up,\n", "line 2 has side 'up': it is left, right or none"),
        (f"{HEADER}\n,a.avi,2,,\n", "line 2 has no subject: fill in the cell"),
        (f"{HEADER}\nP/1,a.avi,2,,\n", "line 2 has subject 'P/1': a subject is letters"),
        (f"{HEADER}\nP1,a.jpg,2,,\n", r"line 2 names a\.jpg, which is no video: it ends in \.mp4"),
        (f"{HEADER}\nP1,../a.avi,2,,\n", r"line 2 names \.\./a\.avi: paths are relative"),
        (f"{HEADER}\nP1,a.avi,2,,\nP2,a.avi,3,,\n", r"names a\.avi twice: a video is one exam"),
        (f"{HEADER}\nP1,a.avi,2,,\nP1,a.mp4,3,,\n", "calls two examinations of P1 a: give each"),
    ],
)
def test_a_table_that_is_wrong_is_named_with_its_row(tmp_path, import_all, text, complaint) -> None:
    write(table_file(tmp_path), text)

    with pytest.raises(DataError, match=complaint):
        import_all("fpara", tmp_path)


def test_the_table_may_have_another_name(tmp_path, import_all) -> None:
    write_fpara(tmp_path, subjects=1, frames=1)
    table_file(tmp_path).rename(tmp_path / "grades.csv")

    with pytest.raises(DataError, match=r"no examinations\.csv or examinations\.parquet at .*--la"):
        import_all("fpara", tmp_path)
    with pytest.raises(DataError, match=r"grades\.xlsx is no table: it ends in \.csv or \.parq"):
        import_all("fpara", tmp_path, labels="grades.xlsx")
    assert len(import_all("fpara", tmp_path, labels="grades.csv").records) == 1


def test_help_names_every_column_that_is_read(tmp_path) -> None:
    assert IMPORTERS["fpara"](str(tmp_path)).describe() == (
        f"fpara from {tmp_path}, labels unread, crop=none"
    )
    for column in ("subject", "video", "house_brackmann", "side", "exercise", "sequence"):
        assert f"\n  {column} " in FPARA_COLUMNS


def test_a_video_is_a_file_of_the_source(tmp_path) -> None:
    from aufleet.data.importers.source import open_source

    with (
        pytest.raises(ObjectMissingError, match="there"),
        open_source(str(tmp_path)).local_copy("x"),
    ):
        pass
