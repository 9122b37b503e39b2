"""Predictions of the validation or test frames, gathered over the ranks, each frame once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aufleet.training.fold_data import Loader
from aufleet.training.metrics import Score, landmark_errors, score_grades, score_units
from aufleet.training.ranks import Ranks
from aufleet_models.contract import Prediction


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What a network says of N frames, and what is true; K units or 4 grades.

    Attributes:
        index: (N,) int64 number of the frame in the data set, ascending.
        logits: (N, K) float32.
        probabilities: (N, K) float32.
        units: (N, U) int64 labels 0, 1, 9.
        grade: (N,) int64 labels 0 to 3, 9.
        landmark_error: (N,) float64 percent of the inter-ocular distance; NaN where the network
            predicts no landmarks.
    """

    index: NDArray[np.int64]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    units: NDArray[np.int64]
    grade: NDArray[np.int64]
    landmark_error: NDArray[np.float64]

    def score(self, units: Sequence[int] | None) -> Score:
        """Return the score for the task: of these units, or of the grades where it is None."""
        if units is None:
            return score_grades(logits=self.logits, labels=self.grade)
        return score_units(
            logits=self.logits, probabilities=self.probabilities, labels=self.units, units=units
        )

    @property
    def mean_landmark_error(self) -> float | None:
        """The mean over the frames; None where the network predicts no landmarks."""
        mean = float(self.landmark_error.mean()) if len(self.index) else float("nan")
        return None if np.isnan(mean) else mean

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The attributes as tensors, for a file."""
        return {one.name: torch.from_numpy(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def of_rows(cls, rows: Mapping[str, Tensor]) -> Self:
        """Return the predictions in the order of the frames, a frame that stands twice once."""
        index, first = np.unique(rows["index"].numpy(), return_index=True)
        others = {name: rows[name].numpy()[first] for name in rows if name != "index"}
        return cls(index=index, **others)


# Not torch.inference_mode: what a network caches on its first call would be an inference tensor,
# which no later training step may use, and ZeRO-3 cannot gather parameters under it.
@torch.no_grad()
def evaluate(
    predict: Callable[[Tensor, Tensor], Prediction], loader: Loader, *, ranks: Ranks
) -> Predictions:
    """Return the predictions of a part of the fold, the same on every rank.

    In fp32, as the network is served. Each rank takes its share of the frames.

    Args:
        predict: A network in evaluation mode: frames and landmarks to prediction.
        loader: The part.
        ranks: Who shares the work.
    """
    parts = [
        _rows(predict(*(batch[name].to(ranks.device) for name in ("frames", "landmarks"))), batch)
        for batch in loader.epoch(0)
        if len(batch["index"])
    ]
    rows = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return Predictions.of_rows({name: ranks.gather(values) for name, values in rows.items()})


def _rows(prediction: Prediction, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    errors = torch.full((len(batch["index"]),), torch.nan, dtype=torch.float64)
    if prediction.landmarks is not None:
        predicted = prediction.landmarks.float().cpu().numpy()
        errors = torch.from_numpy(landmark_errors(predicted, batch["landmarks"].numpy()))
    return {
        "index": batch["index"],
        "logits": prediction.logits.float().cpu(),
        "probabilities": prediction.probabilities.float().cpu(),
        "units": batch["units"],
        "grade": batch["grade"],
        "landmark_error": errors,
    }
