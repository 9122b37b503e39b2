from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from aufleet.errors import NonFiniteLossError
from aufleet.training.epoch import train_epoch
from aufleet.training.evaluation import Predictions


@dataclass
class OneOfTwoRanks:
    """Rank 1 as it sees the world: the other rank always has two frames in a batch."""

    size: int = 2
    device: str = "cpu"

    def sum(self, values: Tensor) -> Tensor:
        return values + 2.0 if values.numel() == 1 else values


class RecordingEngine:
    def __init__(self, losses: list[float]) -> None:
        self.losses = iter(losses)
        self.steps: list[tuple[list[int], float]] = []
        self.rates: list[float] = []

    def set_learning_rate(self, learning_rate: float) -> None:
        self.rates.append(learning_rate)

    def step(self, batch: dict[str, Tensor], *, weight: float) -> Tensor:
        self.steps.append((batch["index"].tolist(), round(weight, 6)))
        return torch.tensor(next(self.losses))


@dataclass
class Loader:
    batches: list[list[int]]
    num_frames: int

    def epoch(self, epoch: int):
        return ({"index": torch.tensor(rows, dtype=torch.int64)} for rows in self.batches)


def test_each_frame_weighs_the_same_in_an_uneven_batch() -> None:
    engine = RecordingEngine([1.0, 1.0, 1.0])
    loader = Loader(batches=[[4, 5], [6], []], num_frames=9)
    train_epoch(engine, loader, epoch=1, rates=[0.3, 0.2, 0.1], ranks=OneOfTwoRanks())  # pyright: ignore
    # Two of 4 frames; one of 3; none of 2: the last batch once more, without weight.
    assert engine.steps == [([4, 5], 1.0), ([6], round(2 / 3, 6)), ([6], 0.0)]
    assert engine.rates == [0.3, 0.2, 0.1]


@dataclass
class Alone:
    size: int = 1
    device: str = "cpu"

    def sum(self, values: Tensor) -> Tensor:
        return values


def test_the_loss_of_an_epoch_is_the_mean_over_frames() -> None:
    loader = Loader(batches=[[0, 1, 2], [3]], num_frames=4)
    engine = RecordingEngine([1.0, 5.0])
    loss = train_epoch(engine, loader, epoch=1, rates=[0.1] * 2, ranks=Alone())  # pyright: ignore
    assert loss == pytest.approx((3 * 1.0 + 5.0) / 4)


def test_the_step_of_a_loss_that_is_not_finite_is_named() -> None:
    losses = [1.0] * 20 + [float("inf")] + [float("nan")] * 19
    loader = Loader(batches=[[0, 1]] * 40, num_frames=80)
    engine = RecordingEngine(losses)
    with pytest.raises(NonFiniteLossError, match="inf in epoch 3, step 21"):
        train_epoch(engine, loader, epoch=3, rates=[0.1] * 40, ranks=Alone())  # pyright: ignore
    assert len(engine.steps) == 32  # seen at the next look, not at the end of the epoch


def test_a_frame_that_two_ranks_predicted_counts_once() -> None:
    rows = {
        name: torch.arange(4.0).repeat_interleave(2).view(4, 2)
        for name in ("logits", "probabilities", "units")
    }
    rows |= {"grade": torch.arange(4), "landmark_error": torch.arange(4.0)}
    predictions = Predictions.of_rows(rows | {"index": torch.tensor([7, 3, 7, 5])})
    assert predictions.index.tolist() == [3, 5, 7]
    assert predictions.grade.tolist() == [1, 3, 0]
