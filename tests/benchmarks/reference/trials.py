"""Trials without a data set: frames that lie in memory, and a clock on the parts of a set-up."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from aufleet.data.labels import LabelStatistics, count_labels
from aufleet.training import TrialConfig

UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)


@dataclass(frozen=True, kw_only=True)
class MemoryLoader:
    """Batches that are slices of tensors.

    Attributes:
        frames: What `FoldLoader` yields, of all frames.
        batch: Frames of a global batch.
        rank: Of this process.
        ranks: How many share a batch.
        began: Called where the first batch is asked for.
    """

    frames: dict[str, Tensor]
    batch: int
    rank: int = 0
    ranks: int = 1
    began: Callable[[], None] = lambda: None

    @property
    def num_frames(self) -> int:
        """Frames of all ranks."""
        return len(self.frames["index"])

    @property
    def steps_per_epoch(self) -> int:
        """Global batches."""
        return -(-self.num_frames // self.batch)

    def epoch(self, epoch: int, /) -> Iterator[dict[str, Tensor]]:
        """Yield this rank's share of each."""
        self.began()
        share = self.batch // self.ranks
        for start in range(0, self.num_frames, self.batch):
            mine = slice(start + self.rank * share, start + (self.rank + 1) * share)
            yield {name: values[mine] for name, values in self.frames.items()}

    def statistics(self) -> LabelStatistics:
        """Return the label counts."""
        return count_labels(
            units=self.frames["units"].numpy(),
            grades=self.frames["grade"].numpy(),
            landmarks=self.frames["landmarks"].numpy(),
        )


@dataclass(frozen=True, kw_only=True)
class MemoryFold:
    """A fold of random frames, or of given ones; its validation part is one batch."""

    config: TrialConfig
    num_frames: int
    began: Callable[[], None] = lambda: None
    ended: Callable[[], None] = lambda: None
    given: dict[str, Tensor] | None = None
    _made: dict[tuple[int, int], dict[str, Tensor]] = field(default_factory=dict)

    @property
    def units(self) -> tuple[int, ...]:
        """Those of BP4D."""
        return UNITS

    def train(self, *, frame_size: int, ranks: Any) -> MemoryLoader:
        """Return all frames."""
        return self._loader(self.num_frames, frame_size, ranks, began=self.began)

    def validation(self, *, frame_size: int, ranks: Any) -> MemoryLoader:
        """Return one batch; that it is asked for means that the training part is done."""
        return self._loader(self.config.batch, frame_size, ranks, began=self.ended)

    def test(self, *, frame_size: int, ranks: Any) -> MemoryLoader:
        """Return the same."""
        return self.validation(frame_size=frame_size, ranks=ranks)

    def _loader(self, count: int, side: int, ranks: Any, **others: Any) -> MemoryLoader:
        if (count, side) not in self._made:
            given = self.given and {name: one[:count] for name, one in self.given.items()}
            self._made[count, side] = given or random_frames(count, side=side)
        return MemoryLoader(
            frames=self._made[count, side],
            batch=self.config.batch,
            rank=ranks.rank,
            ranks=ranks.size,
            **others,
        )


def random_frames(count: int, *, side: int) -> dict[str, Tensor]:
    """Return frames of noise with plausible landmarks and random labels."""
    generator = torch.Generator().manual_seed(0)
    landmarks = torch.rand(count, 49, 2, generator=generator) * 40 + 60
    landmarks[:, 25:31, 0] += 40
    return {
        "frames": torch.rand(count, 3, side, side, generator=generator) * 2 - 1,
        "landmarks": landmarks,
        "units": torch.randint(0, 2, (count, len(UNITS)), generator=generator),
        "grade": torch.randint(0, 4, (count,), generator=generator),
        "side": torch.zeros(count, dtype=torch.int64),
        "index": torch.arange(count),
    }


class SetUpClock:
    """What the set-up of a trial takes: the network, DeepSpeed, and everything else."""

    def __init__(self) -> None:
        self.build_s = self.initialize_s = self.total_s = 0.0
        self._began = 0.0

    @property
    def rest_s(self) -> float:
        """Without building the network and `deepspeed.initialize`."""
        return self.total_s - self.build_s - self.initialize_s

    def start(self) -> None:
        """The trial begins."""
        self.__init__()
        self._began = time.perf_counter()

    def first_batch(self) -> None:
        """Its first step begins; later epochs do not count."""
        self.total_s = self.total_s or time.perf_counter() - self._began

    def building(self, build: Callable[..., Any]) -> Callable[..., Any]:
        """Return a builder of networks that is timed."""

        def timed(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return build(*arguments)
            finally:
                self.build_s = time.perf_counter() - began

        return timed

    def watch_deepspeed(self) -> None:
        """Time every `deepspeed.initialize` of this process."""
        from aufleet.training.environment import load_deepspeed

        deepspeed = load_deepspeed()
        initialize = deepspeed.initialize

        def timed(*arguments: Any, **settings: Any) -> Any:
            began = time.perf_counter()
            try:
                return initialize(*arguments, **settings)
            finally:
                self.initialize_s = time.perf_counter() - began

        vars(deepspeed)["initialize"] = timed
