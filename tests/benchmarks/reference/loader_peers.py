"""The peers of the loader: a folder of JPEGs under torch's `DataLoader`, and WebDataset from S3.

Both decode with the same call, cut, flip and scale as the loader does, mirror the landmarks, and
give batches of the same tensors. Settings are those that their documentation recommends.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import webdataset as wds
from torch.utils.data import DataLoader, Dataset

from aufleet.domain.landmarks import mirror

SIZE, ROOM = 176, 25
PREFETCH = 2
"""The default of `DataLoader`."""
SHUFFLE_BUFFER = 1000
"""Samples that WebDataset shuffles, as its documentation does."""


def prepared(jpeg: bytes, numbers: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return frame, landmarks and units of one sample, cut and flipped at random."""
    frame = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    left, top, flip = (int(torch.randint(high, ())) for high in (ROOM, ROOM, 2))
    frame = frame[top : top + SIZE, left : left + SIZE]
    landmarks = numbers[:98].reshape(49, 2) - np.array([left, top], dtype=np.float32)
    if flip:
        frame, landmarks = cv2.flip(frame, 1), mirror(landmarks, width=SIZE)
    planes = torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))
    pixels = planes.to(torch.float32).mul_(2 / 255).sub_(1)
    return pixels, torch.from_numpy(landmarks), torch.from_numpy(numbers[98:].astype(np.int64))


class Folder(Dataset):
    """A folder of JPEGs with the numbers of each beside it in memory."""

    def __init__(self, files: Sequence[Path], numbers: np.ndarray) -> None:
        self.files, self.numbers = [str(file) for file in files], numbers

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, ...]:
        with open(self.files[number], "rb") as file:
            return prepared(file.read(), self.numbers[number])


def folder_loader(folder: Folder, *, batch: int, workers: int) -> DataLoader:
    """Return torch's loader over a folder."""
    return DataLoader(
        folder,
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        prefetch_factor=PREFETCH,
    )


def tar_of(samples: Iterable[tuple[bytes, np.ndarray]], *, name: str) -> bytes:
    """Return a WebDataset shard."""
    sink = io.BytesIO()
    with wds.TarWriter(sink, encoder=False) as tar:
        for number, (jpeg, numbers) in enumerate(samples):
            tar.write({"__key__": f"{name}-{number:06d}", "jpg": jpeg, "bin": numbers.tobytes()})
    return sink.getvalue()


def webdataset_loader(urls: Sequence[str], *, batch: int, workers: int) -> Any:
    """Return WebDataset's loader over shards at these addresses."""
    dataset = (
        wds.WebDataset(list(urls), shardshuffle=len(urls), nodesplitter=wds.split_by_node)
        .shuffle(SHUFFLE_BUFFER)
        .to_tuple("jpg", "bin")
        .map(_sample)
        .batched(batch)
    )
    return wds.WebLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        persistent_workers=True,
        prefetch_factor=PREFETCH,
    )


def _sample(pair: tuple[bytes, bytes]) -> tuple[torch.Tensor, ...]:
    return prepared(pair[0], np.frombuffer(pair[1], np.float32))


def count_of(batches: Iterable[Sequence[torch.Tensor]]) -> Iterator[int]:
    """Yield the number of frames of each batch."""
    for batch in batches:
        yield len(batch[0])
