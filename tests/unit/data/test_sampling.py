import numpy as np
import pytest

from aufleet.data.sampling import batch_bounds, centre_crops, epoch_order, random_crops


def test_an_epoch_holds_every_frame_once_in_another_order_each_time() -> None:
    first, second = (epoch_order(500, seed=3, epoch=epoch) for epoch in (0, 1))

    assert sorted(first) == sorted(second) == list(range(500))
    assert (first != second).any()
    np.testing.assert_array_equal(first, epoch_order(500, seed=3, epoch=0))


@pytest.mark.parametrize(
    ("num_frames", "batch", "merge", "bounds"),
    [
        (8, 4, True, [(0, 4), (4, 8)]),
        (10, 4, True, [(0, 4), (4, 8), (8, 10)]),
        (9, 4, True, [(0, 4), (4, 9)]),
        (9, 4, False, [(0, 4), (4, 8), (8, 9)]),
        (1, 4, True, [(0, 1)]),
        (3, 1, True, [(0, 1), (1, 3)]),
        (0, 4, True, []),
    ],
)
def test_batches_cover_all_frames(num_frames, batch, merge, bounds) -> None:
    assert batch_bounds(num_frames, batch=batch, merge_single=merge) == bounds


def test_crops_are_uniform_and_reach_both_borders() -> None:
    crops = random_crops(np.arange(50_000), seed=1, epoch=2, max_offset=24)

    for offsets in (crops.left, crops.top):
        counts = np.bincount(offsets, minlength=25)
        assert len(counts) == 25
        assert (abs(counts - 2000) < 5 * np.sqrt(2000)).all()
    assert abs(crops.flip.mean() - 0.5) < 0.02
    for one, other in [(crops.left, crops.top), (crops.left, crops.flip)]:
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.02


def test_a_crop_depends_on_seed_epoch_and_frame_and_on_nothing_else() -> None:
    def offsets(indices: list[int], *, seed: int = 1, epoch: int = 2) -> list[int]:
        crops = random_crops(np.array(indices), seed=seed, epoch=epoch, max_offset=24)
        return [*crops.left, *crops.top, *crops.flip]

    frames = list(range(64))
    assert offsets(frames) == offsets(frames)
    assert offsets(frames[::-1])[:64] == offsets(frames)[:64][::-1]
    assert offsets(frames) != offsets(frames, seed=2)
    assert offsets(frames) != offsets(frames, epoch=3)


def test_the_centre_crop_is_in_the_middle() -> None:
    crops = centre_crops(3, max_offset=24)

    assert crops.left.tolist() == crops.top.tolist() == [12, 12, 12]
    assert not crops.flip.any()


def test_a_batch_mixes_subjects_as_well_as_drawing_at_random_would() -> None:
    # 30 subjects with 40 to 330 frames, stored one after the other.
    sizes = np.arange(40, 340, 10)
    subject_of = np.repeat(np.arange(30), sizes)
    batch = 32

    order = epoch_order(len(subject_of), seed=4, epoch=1)
    batches = subject_of[order][: len(order) // batch * batch].reshape(-1, batch)

    shares = sizes / sizes.sum()
    expected = (1 - (1 - shares) ** batch).sum()
    found = np.mean([len(set(one)) for one in batches])
    assert abs(found - expected) < 0.3, (found, expected)
    assert min(len(set(one)) for one in batches) >= 12
    # Nor do neighbours in the store stay neighbours in an epoch.
    assert abs(np.mean(np.abs(np.diff(order)) == 1)) < 0.002
