from dataclasses import replace

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from aufleet.data.partition import SCHEMA, decode_partition, encode_partition
from aufleet.errors import DataError

CROP = cv2.imencode(".jpg", np.full((240, 240, 3), 77, np.uint8))[1].tobytes()


def test_what_is_encoded_comes_back(make_record) -> None:
    points = np.arange(136, dtype=np.float32).reshape(68, 2)
    records = [
        make_record("S1", 2, intensities=(1, 0, -1), side="left", exercise="smile"),
        make_record("S1", 1, landmarks_68=points, house_brackmann=4, grade=2),
    ]

    frames = decode_partition(encode_partition(records, num_units=3), subject="S1", num_units=3)

    assert frames.frame.tolist() == [1, 2]
    assert frames.jpeg == (records[1].jpeg, records[0].jpeg)
    np.testing.assert_array_equal(frames.landmarks_68[0], points)
    assert np.isnan(frames.landmarks_68[1]).all()
    assert frames.intensities.tolist() == [[-1, -1, -1], [1, 0, -1]]
    assert (frames.grade.tolist(), frames.side.tolist()) == ([2, 9], ["", "left"])
    assert frames.crop_240 is None


def test_a_partition_without_units_is_read_back(make_record) -> None:
    data = encode_partition([make_record("S1", 1, units=())], num_units=0)

    assert decode_partition(data, subject="S1", num_units=0).units.shape == (1, 0)


def test_crops_come_back_where_there_are_some(make_record) -> None:
    records = [make_record("S1", 1, crop_240=CROP), make_record("S1", 2)]
    data = encode_partition(records, num_units=3)

    assert decode_partition(data, subject="S1", num_units=3).crop_240 == (CROP, None)
    assert decode_partition(data, subject="S1", num_units=3, crops=False).crop_240 is None


def test_partitions_without_crops_have_the_columns_that_older_ones_had(
    make_record, tmp_path
) -> None:
    with_crop = make_record("S1", 1, crop_240=CROP)
    path = tmp_path / "part.parquet"
    path.write_bytes(encode_partition([replace(with_crop, crop_240=None)], num_units=3))

    assert pq.read_schema(path).names == SCHEMA.names
    assert "crop_240" not in SCHEMA.names


def test_bytes_that_are_no_partition_are_refused() -> None:
    with pytest.raises(DataError, match="the partition of S1 is not one of ours"):
        decode_partition(b"PAR1 but no more", subject="S1", num_units=3)


def test_a_frame_that_stands_twice_is_refused(make_record) -> None:
    with pytest.raises(DataError, match="S1/T1 frame 1 stands twice"):
        encode_partition([make_record("S1", 1), make_record("S1", 1)], num_units=3)
