"""A tiny network and a tiny fold, with everything that makes numbers hard to repeat: batch norm,
dropout, shuffling, an uneven last batch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aufleet.data.labels import LabelStatistics, count_labels
from aufleet.storage import Store, open_store
from aufleet.training import EpochReport, TrialConfig
from aufleet_models.contract import FaceModel, Prediction, TrainingStatistics

UNITS = (1, 12, 25)
SIZE = 16


class TinyNet(FaceModel):
    def __init__(self, num_outputs: int, task: str) -> None:
        super().__init__()
        self.config, self.task = {}, task
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4)
        )
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(128, num_outputs))
        self.points = nn.Linear(128, 98)
        self.register_buffer("rates", torch.zeros(len(UNITS)))

    @property
    def frame_size(self) -> int:
        return SIZE

    def use_statistics(self, statistics: TrainingStatistics) -> None:
        if self.task == "au":
            self.rates.copy_(statistics.positive_rates)

    def forward(self, frames: Tensor, landmarks: Tensor | None = None) -> Prediction:
        features = self.features(frames).flatten(1)
        logits = self.head(features)
        probabilities = logits.sigmoid() if self.task == "au" else logits.softmax(-1)
        return Prediction(
            logits=logits,
            probabilities=probabilities,
            landmarks=self.points(features).view(-1, 49, 2),
        )

    def loss(self, prediction: Prediction, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.task == "au":
            total = nn.functional.binary_cross_entropy_with_logits(
                prediction.logits, batch["units"].clamp(max=1).float()
            )
        else:
            total = nn.functional.cross_entropy(prediction.logits, batch["grade"])
        points = (prediction.landmarks - batch["landmarks"]).square().mean()
        return {"total": total + 1e-3 * points}


@dataclass(frozen=True, kw_only=True)
class TinyLoader:
    batches: dict[str, Tensor]
    batch: int
    shuffled: bool
    rank: int
    ranks: int

    @property
    def num_frames(self) -> int:
        return len(self.batches["index"])

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.num_frames // self.batch)

    def epoch(self, epoch: int) -> Iterator[dict[str, Tensor]]:
        rows = np.arange(self.num_frames)
        if self.shuffled:
            rows = np.random.default_rng(epoch).permutation(rows)
        for start in range(0, self.num_frames, self.batch):
            mine = rows[start : start + self.batch][self.rank :: self.ranks]
            yield {name: values[torch.from_numpy(mine)] for name, values in self.batches.items()}

    def statistics(self) -> LabelStatistics:
        return count_labels(
            units=self.batches["units"].numpy(),
            grades=self.batches["grade"].numpy(),
            landmarks=self.batches["landmarks"].numpy(),
        )


@dataclass(frozen=True, kw_only=True)
class TinyFold:
    """Frames whose first colour channel shows the labels; `poisoned` puts a NaN in one frame."""

    config: TrialConfig
    poisoned: int | None = None

    @property
    def units(self) -> tuple[int, ...] | None:
        return UNITS if self.config.task == "au" else None

    def train(self, *, frame_size: int, ranks) -> TinyLoader:
        return self._loader(45, batch=self.config.batch, seed=1, shuffled=True, ranks=ranks)

    def validation(self, *, frame_size: int, ranks) -> TinyLoader:
        return self._loader(21, batch=8, seed=2, shuffled=False, ranks=ranks)

    def test(self, *, frame_size: int, ranks) -> TinyLoader:
        return self._loader(22, batch=8, seed=3, shuffled=False, ranks=ranks)

    def _loader(self, count: int, *, batch: int, seed: int, shuffled: bool, ranks) -> TinyLoader:
        generator = torch.Generator().manual_seed(seed)
        units = torch.randint(0, 2, (count, len(UNITS)), generator=generator)
        frames = torch.randn(count, 3, SIZE, SIZE, generator=generator)
        for column in range(len(UNITS)):
            frames[:, column, :8] += 2.0 * units[:, column, None, None]
        if self.poisoned is not None:
            frames[self.poisoned] = torch.nan
        points = 8 + 4 * torch.randn(count, 49, 2, generator=generator)
        batches = {
            "frames": frames,
            "landmarks": points,
            "units": units,
            "grade": units[:, 0] * 2 + units[:, 1],
            "index": torch.arange(count),
        }
        return TinyLoader(
            batches=batches, batch=batch, shuffled=shuffled, rank=ranks.rank, ranks=ranks.size
        )


@pytest.fixture
def config() -> TrialConfig:
    return TrialConfig(model="tiny", units=UNITS, dataset="nowhere", fold=1, epochs=4, batch=8)


@pytest.fixture
def palsy(config: TrialConfig) -> TrialConfig:
    return replace(config, task="palsy", units=None)


@pytest.fixture
def fold() -> type[TinyFold]:
    return TinyFold


@pytest.fixture
def build() -> Callable[[TrialConfig, tuple[int, ...] | None], TinyNet]:
    return lambda config, units: TinyNet(len(units) if units else 4, config.task)


@pytest.fixture
def store(tmp_path) -> Store:
    return open_store(str(tmp_path / "trial"))


class Listener:
    """Collects reports; ends the trial after `stop_after` of them."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.reports: list[EpochReport] = []
        self.stop_after = stop_after

    def __call__(self, report: EpochReport) -> bool:
        self.reports.append(report)
        return len(self.reports) != self.stop_after


@pytest.fixture
def listener() -> type[Listener]:
    return Listener
