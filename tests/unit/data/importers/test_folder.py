import io

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from raw_trees.faces import brightness, nobody, photo, write, write_video
from raw_trees.folder import HEADER, table_file, write_folder

from aufleet.data.importers import FOLDER_COLUMNS
from aufleet.data.importers.folder_table import COLUMNS
from aufleet.errors import DataError


def test_pictures_and_videos_come_out_with_what_their_rows_say(tmp_path, import_all) -> None:
    num_frames = write_folder(tmp_path, subjects=6, frames=2)

    imported = import_all("folder", tmp_path)

    assert len(imported.records) == num_frames == imported.num_frames
    assert sum(plan.num_frames for plan in imported.plans) == num_frames
    assert imported.importer.units == (1, 12)
    assert imported.importer.parts == (("A1", "A4"), ("A2", "A5"), ("A3", "A6"))
    first, second = imported.of("A2", "A2/day1")
    assert (first.frame, first.units, first.intensities) == (0, (0, 1), (-1, 2))
    assert (second.frame, second.units, second.intensities) == (1, (1, 1), (-1, 3))
    assert brightness(first.jpeg) < brightness(second.jpeg)
    film = imported.of("A1", "A1/film")
    assert [record.units for record in film] == [(0, 9), (0, 9)]
    assert [(record.house_brackmann, record.side) for record in film] == [(4, "left")] * 2


def test_a_parquet_table_says_the_same_as_a_csv(tmp_path, import_all) -> None:
    write_folder(tmp_path, subjects=3, frames=2)
    expected = import_all("folder", tmp_path)
    # Empty cells are nulls there, and whole numbers with gaps may be floats.
    table = pa.csv.read_csv(table_file(tmp_path))
    column = table.column_names.index("AU1")
    table = table.set_column(column, "AU1", table.column("AU1").cast(pa.float64()))
    content = io.BytesIO()
    pa.parquet.write_table(table, content)
    table_file(tmp_path).unlink()
    write(tmp_path / "labels.parquet", content.getvalue())

    imported = import_all("folder", tmp_path)

    assert [_said(record) for record in imported.records] == [
        _said(record) for record in expected.records
    ]


def test_rows_may_label_single_frames_of_a_video(tmp_path, import_all) -> None:
    write_video(tmp_path / "film.avi", [photo(0, step=step) for step in range(5)])
    write(
        table_file(tmp_path),
        "subject,video,frame,AU1\nA,film.avi,3,1\nA,film.avi,1,0\nA,film.avi,0,\nA,film.avi,9,1\n",
    )

    imported = import_all("folder", tmp_path)

    assert [(record.frame, record.units) for record in imported.records] == [(1, (0,)), (3, (1,))]
    lights = [brightness(record.jpeg) for record in imported.records]
    assert lights[0] < lights[1]
    assert imported.reasons == {
        "no unit is coded": 1,
        "label row missing": 2,
        "frame lies behind the end of its video": 1,
    }
    assert imported.num_frames == 6


def test_what_cannot_be_used_is_counted(tmp_path, import_all) -> None:
    write(tmp_path / "p/1.jpg", nobody().jpeg)
    write(tmp_path / "p/2.png", b"no picture")
    write(tmp_path / "p/4.jpg", photo(0, step=0).jpeg)
    write(tmp_path / "p/5.jpg", photo(0, step=0).jpeg)
    write(tmp_path / "q/6.jpg", b"")
    write(tmp_path / "q/7.jpg", b"")
    write_video(tmp_path / "blank.avi", [photo(0, step=0)] * 3)
    write_video(tmp_path / "other.avi", [photo(0, step=0)])
    rows = [f"A,p/{name},,1" for name in ("1.jpg", "2.png", "3.jpg", "4.jpg")]
    rows += ["A,p/5.jpg,,9", "A,,blank.avi,", "A,,gone.avi,1"]
    write(table_file(tmp_path), "\n".join(["subject,image,video,AU4", *rows]))

    imported = import_all("folder", tmp_path)

    assert [record.frame for record in imported.records] == [3]
    assert imported.reasons == {
        "no face found": 1,
        "frame cannot be decoded": 1,
        "frame file missing": 1,
        "no unit is coded": 1 + 3,
        "video file missing": 1,
        "label row missing": 2 + 1,
    }


def test_an_intensity_alone_makes_a_label(tmp_path, import_all) -> None:
    for name in ("1", "2"):
        write(tmp_path / f"{name}.jpg", photo(0, step=0).jpeg)
    write(table_file(tmp_path), "subject,image,AU26_intensity,AU2\nA,1.jpg,2,0\nA,2.jpg,1,1\n")

    imported = import_all("folder", tmp_path)

    assert imported.importer.units == (2, 26)
    assert [record.units for record in imported.records] == [(0, 1), (1, 0)]
    assert [record.intensities for record in imported.records] == [(-1, 2), (-1, 1)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("subject,image\nA,1.jpg\n", "has no column of labels, only subject, image: add AU1, AU2"),
        ("subject,AU1\nA,1\n", "has no column image, only subject, AU1"),
        ("image,AU1\n1.jpg,1\n", "has no column subject, only image, AU1"),
        ("subject,image,au_1\nA,1.jpg,1\n", "has a column 'au_1': units are called AU1 and AU1_"),
        ("subject,image,AU1,parts\nA,1.jpg,1,1\n", "has a column 'parts': call it part"),
        ("subject,image,AU1\nA,1.jpg,2\n", "line 2 has AU1 '2': labels are 0, 1 and 9"),
        ("subject,image,AU1\nA,,1\n", "line 2 names neither image and video"),
        ("subject,image,video,AU1\nA,1.jpg,2.avi,1\n", "line 2 names both image and video"),
        ("subject,image,AU1\nA,1.bmp,1\n", r"1\.bmp, which is no image: it ends in \.jpg, \.jpe"),
        ("subject,image,AU1,frame\nA,1.jpg,1,-1\n", "line 2 has frame '-1': it is a whole number"),
        (
            "subject,image,AU1,frame\nA,1.jpg,1,3\nA,2.jpg,1,3\n",
            r"line 2 repeats A/\. frame 3: name sequences and frames apart",
        ),
        ("subject,video,AU1\nA,1.avi,1\nB,1.avi,1\n", r"disagree about 1\.avi: a video is of one"),
        (
            "subject,video,frame,AU1\nA,1.avi,1,1\nA,1.avi,,1\n",
            r"labels\.csv line 3 and labels\.csv line 2 disagree about 1\.avi",
        ),
        (
            "subject,image,AU1,part\nA,1.jpg,1,1\nA,2.jpg,1,2\n",
            "line 3 puts A into part 2 and another into 1: a subject belongs to one part",
        ),
        ("subject,image,AU1,part\nA,1.jpg,1,4\n", "has part '4': it is a whole number from 1 to 3"),
        ("subject,image,AU1,part\nA,1.jpg,1,1\n", "has no subject in part 2: fill all three"),
        ("subject,image,AU1_intensity\nA,1.jpg,6\n", "AU1_intensity '6': it is a whole number"),
        ("sub\x80ject".encode("latin-1"), "is not UTF-8 text: save it as CSV UTF-8"),
        (",,,\n ,\n", r"labels\.csv is empty: copy it again"),
        (
            "subject,image,AU1\nA," + "1" * 200_000,
            r"not readable near line 2: .*: save it again as",
        ),
    ],
)
def test_a_table_that_is_wrong_is_named_with_its_row(tmp_path, import_all, text, complaint) -> None:
    write(table_file(tmp_path), text)

    with pytest.raises(DataError, match=complaint):
        import_all("folder", tmp_path)


def test_a_parquet_file_that_is_none_is_named(tmp_path, import_all) -> None:
    write(tmp_path / "labels.parquet", b"PAR1, but text")

    with pytest.raises(DataError, match=r"labels\.parquet is not Parquet"):
        import_all("folder", tmp_path)


def test_help_names_every_column_that_is_read() -> None:
    assert set(HEADER.split(",")) - {"AU1", "AU12", "AU12_intensity"} <= set(COLUMNS)
    for column in COLUMNS:
        assert column in FOLDER_COLUMNS


def _said(record) -> tuple:
    return record.subject, record.sequence, record.frame, record.units, record.intensities
