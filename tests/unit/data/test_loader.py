import threading
from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from aufleet.data.cache import NodeCache
from aufleet.data.crop_240 import points_of_crop_240
from aufleet.data.dataset import open_dataset
from aufleet.data.loader import Batch, FoldLoader, cut_landmarks, mirror_sides
from aufleet.data.pictures import cut_frames
from aufleet.data.publish import publish_dataset
from aufleet.data.sampling import random_crops
from aufleet.domain.landmarks import MIRROR_49, POINTS_49_OF_68, eye_centres
from aufleet.errors import ConfigError, DataError

SUBJECTS = ("S2", "S4", "S5", "S7")


def loader_of(dataset, **changes: object) -> FoldLoader:
    settings = {"subjects": SUBJECTS, "batch": 4, "seed": 5, "augment": True}
    return FoldLoader(dataset, **{**settings, **changes})


def indices(batches: Iterable[Batch]) -> list[int]:
    return [int(index) for batch in batches for index in batch["index"]]


def by_index(batches: Iterable[Batch]) -> dict[int, dict[str, bytes]]:
    return {
        int(batch["index"][row]): {
            name: tensor[row].numpy().tobytes() for name, tensor in batch.items()
        }
        for batch in batches
        for row in range(len(batch["index"]))
    }


def equal(one: Batch, other: Batch) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_batch_has_the_shapes_that_networks_take(dataset) -> None:
    batch = next(loader_of(dataset).epoch(0))

    assert {name: (tuple(value.shape), value.dtype) for name, value in batch.items()} == {
        "frames": ((4, 3, 176, 176), torch.float32),
        "landmarks": ((4, 49, 2), torch.float32),
        "units": ((4, 3), torch.int64),
        "grade": ((4,), torch.int64),
        "side": ((4,), torch.int64),
        "index": ((4,), torch.int64),
    }
    assert batch["frames"].is_contiguous()
    assert -1 <= batch["frames"].min() <= batch["frames"].max() <= 1


def test_evaluation_gives_every_frame_once_in_order_with_its_own_picture(dataset) -> None:
    loader = loader_of(dataset, augment=False)

    batches = list(loader.epoch(0))

    assert len(batches) == loader.steps_per_epoch
    assert len(set(indices(batches))) == loader.num_frames
    assert indices(batches) == sorted(indices(batches))
    # The conftest paints a frame's number into its red channel; AU1 is its parity.
    numbers = torch.cat([batch["frames"][:, 0].mean(dim=(1, 2)) for batch in batches])
    numbers = ((numbers + 1) * 127.5).round().long()
    expected = [n * 10 + row for n in (2, 4, 5, 7) for row in range(4 + n % 3)]
    assert (numbers - torch.tensor(expected)).abs().max() <= 2
    units = torch.cat([batch["units"] for batch in batches])
    assert units[:, 0].tolist() == [number % 2 for number in expected]


def test_an_index_means_the_same_frame_in_every_part(dataset) -> None:
    alone = by_index(loader_of(dataset, subjects=["S5"], augment=False).epoch(0))
    together = by_index(loader_of(dataset, augment=False).epoch(0))

    assert alone.items() <= together.items()


def test_training_shuffles_anew_each_epoch_and_the_same_for_the_same_seed(dataset) -> None:
    loader = loader_of(dataset)

    first, second = indices(loader.epoch(1)), indices(loader.epoch(2))

    assert sorted(first) == sorted(second)
    assert first != second
    assert first == indices(loader_of(dataset, subjects=SUBJECTS[::-1]).epoch(1))
    assert first != indices(loader_of(dataset, seed=6).epoch(1))


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_ranks_share_each_global_batch_without_overlap_or_loss(dataset, ranks, augment) -> None:
    whole = list(loader_of(dataset, augment=augment).epoch(3))
    shares = [
        list(loader_of(dataset, augment=augment, rank=rank, ranks=ranks).epoch(3))
        for rank in range(ranks)
    ]

    assert all(len(share) == len(whole) for share in shares)
    for step, batch in enumerate(whole):
        of_ranks = [share[step] for share in shares]
        assert sum(len(share["index"]) for share in of_ranks) == len(batch["index"])
        assert by_index(of_ranks) == by_index([batch])


def test_a_rank_without_a_frame_gets_an_empty_batch(dataset) -> None:
    last = list(loader_of(dataset, batch=3, augment=False, rank=4, ranks=5).epoch(0))[-1]

    assert last["frames"].shape == (0, 3, 176, 176)
    assert last["landmarks"].shape == (0, 49, 2)
    assert last["units"].shape == (0, 3)


@pytest.mark.parametrize("start_step", [0, 1, 3, 5])
def test_a_resumed_epoch_goes_on_with_the_bits_of_an_uninterrupted_one(dataset, start_step) -> None:
    whole = list(loader_of(dataset).epoch(2))

    resumed = list(loader_of(dataset).epoch(2, start_step=start_step))

    assert len(resumed) == len(whole) - start_step
    assert all(equal(one, other) for one, other in zip(resumed, whole[start_step:], strict=True))


def test_training_never_ends_in_a_batch_of_one(dataset) -> None:
    num_frames = loader_of(dataset).num_frames
    batch = num_frames - 1

    sizes = [len(batch["index"]) for batch in loader_of(dataset, batch=batch).epoch(0)]

    assert sizes == [num_frames]
    evaluation = loader_of(dataset, batch=batch, augment=False)
    assert [len(batch["index"]) for batch in evaluation.epoch(0)] == [batch, 1]


def test_landmarks_move_with_the_pixels_under_crop_and_flip(template) -> None:
    points = template.round()  # so that each lies in the middle of a pixel
    frame = np.zeros((200, 200, 3), dtype=np.uint8)
    for number, (x, y) in enumerate(points.astype(int)):
        frame[y, x] = 5 * number
    crops = random_crops(np.arange(40), seed=0, epoch=0, max_offset=24)

    frames = cut_frames(np.repeat(frame[None], 40, axis=0), crops, size=176)
    landmarks = cut_landmarks(np.repeat(points[None], 40, axis=0), crops, size=176)

    for cut, shape, flip in zip(frames, landmarks.astype(int), crops.flip, strict=True):
        painted = cut[0, shape[:, 1], shape[:, 0]] // 5
        # In a mirrored face the left brow is the one that was on the right.
        np.testing.assert_array_equal(painted, MIRROR_49 if flip else np.arange(49))
    assert 10 < crops.flip.sum() < 30


@pytest.mark.parametrize("augment", [False, True])
def test_sixty_eight_points_are_cut_and_mirrored_as_the_forty_nine(dataset_68, augment) -> None:
    few = loader_of(dataset_68, augment=augment)
    many = loader_of(dataset_68, augment=augment, num_points=68)

    for one, other in zip(few.epoch(2), many.epoch(2), strict=True):
        assert other["landmarks"].shape == (len(one["index"]), 68, 2)
        assert torch.equal(other["landmarks"][:, POINTS_49_OF_68], one["landmarks"])
        assert torch.equal(other["frames"], one["frames"])


def test_sixty_eight_points_that_a_frame_lacks_are_an_error(dataset) -> None:
    complaint = "22 of 22 frames of .* have no 68 landmarks: set num_points to 49"
    with pytest.raises(ConfigError, match=complaint):
        loader_of(dataset, num_points=68)


def test_evaluation_takes_the_centre_crop(dataset, template) -> None:
    batch = next(loader_of(dataset, augment=False).epoch(0))

    np.testing.assert_allclose(batch["landmarks"][0], template + 20 % 3 - 12)


def test_training_crops_each_frame_anew_in_each_epoch(dataset) -> None:
    loader = loader_of(dataset)

    seen = {
        row["landmarks"] for epoch in range(8) for row in by_index(loader.epoch(epoch)).values()
    }

    assert len(seen) > 6 * loader.num_frames


def test_units_may_be_chosen_and_ordered(dataset) -> None:
    every = next(loader_of(dataset).epoch(0))["units"]
    chosen = next(loader_of(dataset, units=(12, 1)).epoch(0))["units"]

    assert torch.equal(chosen, every[:, [2, 0]])


def test_shuffled_labels_keep_frames_and_rates_but_not_their_bond(dataset) -> None:
    honest, shuffled = loader_of(dataset), loader_of(dataset, shuffle_labels=True)
    one, other = by_index(honest.epoch(0)), by_index(shuffled.epoch(0))

    assert all(one[index]["frames"] == other[index]["frames"] for index in one)
    assert any(one[index]["units"] != other[index]["units"] for index in one)
    assert sorted(row["units"] for row in one.values()) == sorted(
        row["units"] for row in other.values()
    )
    rates = [loader.statistics().positive_rates for loader in (honest, shuffled)]
    np.testing.assert_array_equal(*rates)


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_a_part_too_large_to_keep_gives_the_same_batches(
    dataset, tmp_path, workers, augment
) -> None:
    kept = loader_of(dataset, augment=augment)
    streamed = loader_of(
        dataset,
        augment=augment,
        keep_decoded_bytes=0,
        workers=workers,
        cache=NodeCache(folder=tmp_path / "cache"),
    )

    for epoch in (0, 1):
        same_twice(kept.epoch(epoch), streamed.epoch(epoch))
        same_twice(kept.epoch(epoch, start_step=2), streamed.epoch(epoch, start_step=2))


def same_twice(expected: Iterable[Batch], found: Iterable[Batch]) -> None:
    assert all(equal(one, other) for one, other in zip(expected, found, strict=True))


def test_an_epoch_may_be_left_and_another_begun(dataset, tmp_path) -> None:
    cache = NodeCache(folder=tmp_path)
    loader = loader_of(dataset, batch=2, keep_decoded_bytes=0, workers=1, cache=cache)
    whole = list(loader.epoch(1))

    abandoned = loader.epoch(0)
    next(abandoned)
    abandoned.close()

    same_twice(whole, loader.epoch(1))


def test_no_thread_is_left_after_an_epoch(dataset) -> None:
    before = threading.active_count()
    loader = loader_of(dataset)

    list(loader.epoch(0))
    begun = loader.epoch(1)
    next(begun)
    begun.close()

    assert threading.active_count() == before


def test_loading_draws_nothing_from_the_generators_that_training_uses(dataset, tmp_path) -> None:
    loader = loader_of(dataset, keep_decoded_bytes=0, workers=1, cache=NodeCache(folder=tmp_path))
    before = torch.get_rng_state(), np.random.get_state()[1].copy()

    list(loader.epoch(0))

    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_statistics_count_the_whole_part_on_every_rank(dataset, template) -> None:
    counted = loader_of(dataset, rank=1, ranks=2).statistics()

    assert counted.positive_rates.shape == (3,)
    assert counted.agreement.shape == (3, 3)
    assert counted.mean_shape.shape == (49, 2)
    np.testing.assert_allclose(counted.mean_shape, template - 12 + 1, atol=0.2)


@pytest.fixture
def masked(make_record, spec, store, template):
    """A data set whose 240-pixel pictures show a white disc at five of the landmarks."""

    def with_crop(subject: str, row: int):
        record = make_record(subject, row)
        picture = np.zeros((240, 240, 3), dtype=np.uint8)
        for x, y in points_of_crop_240(record.landmarks, record.landmarks)[DISCS]:
            cv2.circle(picture, (round(float(x)), round(float(y))), 3, (255, 255, 255), -1)
        return replace(record, crop_240=cv2.imencode(".png", picture)[1].tobytes())

    publish_dataset(
        ((f"S{n}", [with_crop(f"S{n}", row) for row in range(12)]) for n in range(1, 10)),
        spec=replace(spec, version="masked"),
        store=store,
    )
    return open_dataset(store.uri_of("datasets/faces/masked"))


DISCS = [0, 9, 13, 31, 37]
"""Outer brows, nose tip, mouth corners: a flip makes each one of them again."""


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("keep_decoded_bytes", [0, 2**31])
def test_lp_nets_pictures_are_turned_cut_and_mirrored_with_their_landmarks(
    masked, augment, keep_decoded_bytes
) -> None:
    loader = loader_of(
        masked, frame_size=224, augment=augment, keep_decoded_bytes=keep_decoded_bytes, workers=0
    )
    tilts = []

    for batch in loader.epoch(1):
        assert batch["frames"].shape[1:] == (3, 224, 224)
        for frame, shape in zip(batch["frames"], batch["landmarks"].numpy(), strict=True):
            x, y = shape[DISCS].round().astype(int).T
            assert (frame[:, y, x] > 0.5).all()
            # The discs and nothing else is white.
            assert (frame[0] > 0).sum() < 5 * 45
            tilts.append(tilt_of(shape))

    assert max(map(abs, tilts)) < 10.5
    assert (np.std(tilts) > 3) == augment


def tilt_of(shape: np.ndarray) -> float:
    """Return how far the eyes are from level, in degrees."""
    (x0, y0), (x1, y1) = eye_centres(shape)
    return float(np.degrees(np.arctan2(y1 - y0, x1 - x0)))


@pytest.mark.parametrize(
    ("change", "error", "complaint"),
    [
        ({"units": (1, 26)}, ConfigError, "no AU26: it has AU1, AU2, AU12"),
        ({"subjects": ["S1", "X"]}, DataError, "no subject X"),
        ({"subjects": []}, ConfigError, "no subject"),
        ({"batch": 0}, ConfigError, "batch of 0"),
        ({"rank": 2, "ranks": 2}, ConfigError, "no rank 2 of 2"),
        ({"frame_size": 241}, ConfigError, "241 pixels"),
        ({"frame_size": 224}, ConfigError, r"S\d/.* has no 240-pixel .* import .* --crop lpnet"),
        ({"num_points": 66}, ConfigError, "66 landmarks cannot be had: choose 49 or 68"),
        ({"seed": -1}, ConfigError, "seed -1"),
    ],
)
def test_what_cannot_be_loaded_is_said_at_once(dataset, change, error, complaint) -> None:
    with pytest.raises(error, match=complaint):
        loader_of(dataset, **change)


def test_a_flip_swaps_the_affected_side() -> None:
    crops = random_crops(np.arange(64), seed=1, epoch=0, max_offset=24)
    sides = np.tile([0, 1, 2, 9], 16)
    swapped = {0: 0, 1: 2, 2: 1, 9: 9}
    expected = [
        swapped[side] if flip else side for side, flip in zip(sides, crops.flip, strict=True)
    ]
    assert 0 < crops.flip.sum() < 64
    assert mirror_sides(sides, crops).tolist() == expected


def test_sides_come_from_the_data_set(make_record, spec, store) -> None:
    names = ("none", "left", "right", "")
    records = [make_record("S1", row, side=name) for row, name in enumerate(names)]
    publish_dataset([("S1", records), *_others(make_record)], spec=spec, store=store)
    dataset = open_dataset(store.uri_of("datasets/faces/1"))
    loader = loader_of(dataset, subjects=["S1"], augment=False)
    assert [int(side) for batch in loader.epoch(0) for side in batch["side"]] == [0, 1, 2, 9]


def _others(make_record) -> list:
    """Subjects for the other folds."""
    return [(f"S{number}", [make_record(f"S{number}", 0)]) for number in range(2, 10)]
