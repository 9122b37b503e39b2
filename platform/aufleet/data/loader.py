"""Batches of one part of a fold, for one rank."""

import os
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aufleet.data.alignment import CROP_SIZE, to_input
from aufleet.data.cache import NodeCache
from aufleet.data.crop_240 import points_of_crop_240
from aufleet.data.dataset import Dataset
from aufleet.data.fetching import ahead
from aufleet.data.labels import LabelStatistics, count_labels
from aufleet.data.part import Part, ReadOptions, read_part
from aufleet.data.pictures import (
    ALIGNED,
    KEEP_DECODED_BYTES,
    MASKED,
    Cut,
    KeptPictures,
    turn_about_middle,
)
from aufleet.data.sampling import Crops, batch_bounds, centre_crops, epoch_order, random_crops
from aufleet.domain.landmarks import NUM_POINTS, mirror
from aufleet.domain.palsy import MIRRORED_SIDES, UNKNOWN_SIDE
from aufleet.errors import ConfigError

WORKERS_VARIABLE = "AUFLEET_LOADER_WORKERS"
MOST_WORKERS = 4
MAX_DEGREES = 10.0
"""Turn of LP-Net's pictures in training; the paper does not say how far."""
AHEAD = 2
"""Batches that are ready before they are asked for."""
Batch = dict[str, Tensor]


class FoldLoader:
    """The frames of some subjects as batches, split over ranks by global step.

    Global batch s of an epoch is the same for any number of ranks; rank r takes its frames r,
    r + ranks, r + 2 ranks and so on. No frame is lost or doubled: where a batch is short the ranks
    get different numbers of frames, possibly none (tensors whose first side is 0).

    A thread makes the next batches while the last one is used. Where the decoded frames fit into
    memory they are decoded once; else processes decode them anew for each epoch. Neither changes
    a bit of any batch.
    """

    def __init__(  # noqa: PLR0913 - each says one thing
        self,
        dataset: Dataset,
        *,
        subjects: Sequence[str],
        units: Sequence[int] | None = None,
        batch: int,
        seed: int,
        augment: bool,
        rank: int = 0,
        ranks: int = 1,
        frame_size: int = CROP_SIZE,
        num_points: int = NUM_POINTS,
        shuffle_labels: bool = False,
        cache: NodeCache | None = None,
        workers: int | None = None,
        keep_decoded_bytes: int = KEEP_DECODED_BYTES,
    ) -> None:
        """Read the subjects.

        Args:
            dataset: Where they are published.
            subjects: The training, validation or test part of a fold.
            units: The units to learn, in their order; None for all of the data set.
            batch: Frames in a global batch, over all ranks.
            seed: Not negative; decides order, crops, flips and shuffled labels.
            augment: For training: shuffle each epoch, crop at random, flip half. Otherwise the
                frames come in the data set's order with the centre crop.
            rank: Of this process.
            ranks: Processes that share each global batch.
            frame_size: Side of the crop in pixels: up to 200 of the aligned frame, else up to 240
                of LP-Net's picture, which is also turned at random in training.
            num_points: Landmarks of each frame in a batch: 49, or 68 where every frame has them.
            shuffle_labels: Deal the labels to other frames, so that nothing can be learnt.
            cache: Where this node keeps what was read from the store; None keeps it in memory.
            workers: Processes that decode parts too large to be kept decoded; 0 for a thread of
                this process. By default what AUFLEET_LOADER_WORKERS says, else half of the cores,
                1 to 4.
            keep_decoded_bytes: Parts whose decoded frames need no more are decoded once.

        Raises:
            ConfigError: No subjects, a unit that the data set lacks, a number that cannot be, or
                a frame without the 68 points that are asked for.
            DataError: A subject that the data set lacks.
            ObjectMissingError: A partition is not in the store.
            ObjectCorruptError: A partition is not what was published.
        """
        _check(batch=batch, seed=seed, rank=rank, ranks=ranks, frame_size=frame_size)
        options = ReadOptions(
            cache=cache,
            keep_decoded_bytes=keep_decoded_bytes,
            workers=_default_workers() if workers is None else workers,
            source=ALIGNED if frame_size <= ALIGNED.side else MASKED,
        )
        part = read_part(dataset, subjects=subjects, units=units, options=options)
        self._part = part.with_shuffled_labels(seed=seed) if shuffle_labels else part
        self._source = options.source
        points = _points_of(part, num_points=num_points, uri=dataset.uri)
        if self._source == MASKED:
            points = points_of_crop_240(part.landmarks, points)
        self._landmarks = points
        self._bounds = batch_bounds(len(part.indices), batch=batch, merge_single=augment)
        self._seed, self._augment = seed, augment
        self._rank, self._ranks = rank, ranks
        self._frame_size = frame_size

    @property
    def num_frames(self) -> int:
        """Frames of all ranks in an epoch."""
        return len(self._part.indices)

    @property
    def is_decoded(self) -> bool:
        """Whether the decoded frames lie in memory."""
        return isinstance(self._part.pictures, KeptPictures)

    @property
    def steps_per_epoch(self) -> int:
        """Global batches in an epoch; every rank makes as many steps."""
        return len(self._bounds)

    def epoch(self, epoch: int, *, start_step: int = 0) -> Iterator[Batch]:
        """Yield this rank's share of each global batch.

        Args:
            epoch: From 0 or 1, as the caller counts; not negative.
            start_step: Steps of the epoch that are already done.

        Yields:
            "frames" (b, 3, 176, 176) float32 in [-1, 1]; "landmarks" (b, 49 or 68, 2) float32 in
            pixels of the crop; "units" (b, U) int64 with 0, 1 or 9; "grade" (b,) int64 with 0 to 3
            or 9; "side" (b,) int64, the affected side of the crop: 0 none, 1 left, 2 right, as
            the patient sees it, or 9; "index" (b,) int64, the frame's number in the data set.
        """
        cuts = self._cuts(epoch, start_step=start_step)
        return ahead(self._batches(cuts), depth=AHEAD)

    def statistics(self) -> LabelStatistics:
        """Return the counts over all frames of all ranks."""
        part = self._part
        return count_labels(units=part.units, grades=part.grades, landmarks=part.landmarks)

    def _cuts(self, epoch: int, *, start_step: int) -> list[Cut]:
        rows = np.arange(self.num_frames)
        if self._augment:
            rows = epoch_order(self.num_frames, seed=self._seed, epoch=epoch)
        shares = [rows[start:end][self._rank :: self._ranks] for start, end in self._bounds]
        return [
            Cut(rows=share, crops=self._crops(self._part.indices[share], epoch=epoch))
            for share in shares[start_step:]
        ]

    def _batches(self, cuts: list[Cut]) -> Iterator[Batch]:
        # Cutting and scaling are as long as each other: a thread for each.
        pictures = ahead(self._part.pictures.cut(cuts, size=self._frame_size), depth=1)
        for cut, frames in zip(cuts, pictures, strict=True):
            yield self._batch(cut, frames)

    def _batch(self, cut: Cut, frames: NDArray[np.uint8]) -> Batch:
        part, rows, crops = self._part, cut.rows, cut.crops
        landmarks = cut_landmarks(
            self._landmarks[rows], crops, size=self._frame_size, side=self._source.side
        )
        return {
            # Channels come first already: seen as (b, H, W, 3) they are not copied.
            "frames": torch.from_numpy(to_input(frames.transpose(0, 2, 3, 1))),
            "landmarks": torch.from_numpy(landmarks),
            "units": torch.from_numpy(part.units[rows]),
            "grade": torch.from_numpy(part.grades[rows]),
            "side": torch.from_numpy(mirror_sides(part.sides[rows], crops)),
            "index": torch.from_numpy(part.indices[rows]),
        }

    def _crops(self, indices: NDArray[np.int64], *, epoch: int) -> Crops:
        max_offset = self._source.side - self._frame_size
        if self._augment:
            return random_crops(
                indices,
                seed=self._seed,
                epoch=epoch,
                max_offset=max_offset,
                max_degrees=MAX_DEGREES if self._source == MASKED else 0,
            )
        return centre_crops(len(indices), max_offset=max_offset)


def cut_landmarks(
    landmarks: NDArray[np.float32], crops: Crops, *, size: int, side: int = ALIGNED.side
) -> NDArray[np.float32]:
    """Return landmarks (b, 49 or 68, 2), pixels of frames of `side`, in pixels of the crops."""
    if crops.degrees is not None:
        affine = turn_about_middle(crops.degrees, side=side)
        turned = landmarks @ np.swapaxes(affine[..., :2], -1, -2) + affine[:, None, :, 2]
        landmarks = turned.astype(np.float32)
    offsets = np.stack([crops.left, crops.top], axis=-1).astype(np.float32)
    cut = landmarks - offsets[:, None]
    cut[crops.flip] = mirror(cut[crops.flip], width=size)
    return cut


def mirror_sides(sides: NDArray[np.int64], crops: Crops) -> NDArray[np.int64]:
    """Return sides (b,) as they are in the crops: a flip swaps left and right."""
    swapped = np.where(sides == UNKNOWN_SIDE, sides, np.take(MIRRORED_SIDES, sides, mode="clip"))
    return np.where(crops.flip, swapped, sides)


def _points_of(part: Part, *, num_points: int, uri: str) -> NDArray[np.float32]:
    """Return the landmarks of a part, (N, num_points, 2)."""
    if num_points == NUM_POINTS:
        return part.landmarks
    if num_points != part.landmarks_68.shape[1]:
        raise ConfigError(f"frames with {num_points} landmarks cannot be had", "choose 49 or 68")
    lacking = int(np.isnan(part.landmarks_68).any(axis=(1, 2)).sum())
    if lacking:
        raise ConfigError(
            f"{lacking} of {len(part.indices)} frames of {uri} have no 68 landmarks",
            f"set num_points to {NUM_POINTS}, which every frame has",
        )
    return part.landmarks_68


def _check(*, batch: int, seed: int, rank: int, ranks: int, frame_size: int) -> None:
    if batch < 1:
        raise ConfigError(f"a batch of {batch} frames cannot be", "it holds at least 1")
    if seed < 0:
        raise ConfigError(f"seed {seed} is negative", "seeds are 0 or more")
    if not 0 <= rank < ranks:
        raise ConfigError(f"there is no rank {rank} of {ranks}")
    if not 0 < frame_size <= MASKED.side:
        raise ConfigError(
            f"crops of {frame_size} pixels cannot be cut",
            f"frames have {ALIGNED.side} pixels, LP-Net's pictures {MASKED.side}",
        )


def _default_workers() -> int:
    named = os.environ.get(WORKERS_VARIABLE)
    if named is None:
        return min(MOST_WORKERS, max(1, len(os.sched_getaffinity(0)) // 2))
    if not named.isdecimal():
        raise ConfigError(f"{WORKERS_VARIABLE}={named} is no number of processes", "give 0 or more")
    return int(named)
