"""How a trained model does on a published data set: on which subjects, in which units, how well.

Scores are taken per part of the data set and averaged, as the papers have it, and also over all
frames together: the two differ, so both are told.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from aufleet.data.dataset import Dataset
from aufleet.data.loader import FoldLoader
from aufleet.data.manifest import UNGRADED
from aufleet.domain.action_units import label_of
from aufleet.domain.landmarks import NUM_POINTS
from aufleet.errors import ConfigError, DataError
from aufleet.training.counting import CountedLoader
from aufleet.training.evaluation import Predictions, evaluate
from aufleet.training.fold_data import EVALUATION_BATCH
from aufleet.training.metrics import THRESHOLD, Score, f1_at
from aufleet.training.ranks import Ranks
from aufleet.training.trained import TrainedModel, seen_subjects
from aufleet_models.contract import Prediction

FAILURE = 10.0
"""A frame's alignment failed where the mean error of its landmarks is more percent of the
inter-ocular distance."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be scored.

    Attributes:
        dataset: The data set.
        subjects: Whose frames.
        left_out: Subjects that the model knows.
        units: In common, in the model's order; None for palsy.
        only_in_model: Units that the data set lacks.
        only_in_dataset: Units that the model lacks.
    """

    dataset: Dataset
    subjects: tuple[str, ...]
    left_out: tuple[str, ...]
    units: tuple[int, ...] | None
    only_in_model: tuple[int, ...] = ()
    only_in_dataset: tuple[int, ...] = ()

    @property
    def num_frames(self) -> int:
        """Frames of the subjects."""
        chosen = set(self.subjects)
        partitions = self.dataset.manifest.partitions
        return sum(one.num_frames for one in partitions if one.subject in chosen)


def plan_scoring(model: TrainedModel, dataset: Dataset, *, unseen: bool = False) -> Plan:
    """Return what of a data set a model is scored on.

    Args:
        model: The model.
        dataset: The data set.
        unseen: Leave out the subjects that the model knows; otherwise they are an error.

    Raises:
        ConfigError: The model knows subjects, or no unit is in common.
    """
    manifest = dataset.manifest
    seen, held_out = seen_subjects(model, manifest)
    if seen and not unseen:
        raise ConfigError(
            f"{_some(seen)} of {dataset.uri} were seen in the training of {model.uri}",
            "add --unseen to score the others only"
            if set(manifest.subjects) - seen
            else "score it on other people",
        )
    if held_out and not model.is_released:
        # Whoever may look at the test part while there is still a choice will choose by it.
        raise ConfigError(
            f"{_some(held_out)} of {dataset.uri} are the test part of the trial at {model.uri}",
            "aufleet tune scores it once; promote the model, or score it on another data set",
        )
    subjects = tuple(one for one in manifest.subjects if one not in seen)
    if not subjects:
        raise ConfigError(
            f"all {len(seen)} subjects of {dataset.uri} were seen in the training of {model.uri}",
            "score it on other people",
        )
    if model.units is None:
        if not any(count for name, count in manifest.grade_counts.items() if name != UNGRADED):
            raise ConfigError(f"{dataset.uri} has no palsy grades", "score an AU model on it")
        return Plan(dataset=dataset, subjects=subjects, left_out=tuple(sorted(seen)), units=None)
    common = tuple(unit for unit in model.units if unit in manifest.units)
    if not common:
        raise ConfigError(
            f"{model.uri} knows {_labels(model.units)}, {dataset.uri} codes "
            f"{_labels(manifest.units) or 'no unit'}",
            "they have no unit in common",
        )
    return Plan(
        dataset=dataset,
        subjects=subjects,
        left_out=tuple(sorted(seen)),
        units=common,
        only_in_model=tuple(unit for unit in model.units if unit not in common),
        only_in_dataset=tuple(unit for unit in manifest.units if unit not in common),
    )


def predict(
    model: TrainedModel, plan: Plan, *, progress: Callable[[int], None] = lambda frames: None
) -> Predictions:
    """Return what a model says of the frames of a plan.

    Args:
        model: The model.
        plan: Whose frames.
        progress: Called with the number of frames of each batch that is done.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = model.network.to(device)
    outputs = model.units or ()
    columns = [outputs.index(unit) for unit in plan.units or ()]
    loader = FoldLoader(
        plan.dataset,
        subjects=plan.subjects,
        units=plan.units,
        batch=EVALUATION_BATCH,
        seed=0,
        augment=False,
        frame_size=model.frame_size,
        num_points=model.num_points or NUM_POINTS,
    )

    def answer(frames: Tensor, landmarks: Tensor) -> Prediction:
        found = network(frames.to(device), landmarks.to(device))
        if plan.units is None:
            return found
        return replace(
            found,
            logits=found.logits[:, columns],
            probabilities=found.probabilities[:, columns],
        )

    alone = Ranks(rank=0, size=1)
    return evaluate(answer, CountedLoader(loader=loader, done=progress), ranks=alone)


@dataclass(frozen=True, kw_only=True)
class DatasetScore:
    """How a model does on a data set.

    Attributes:
        num_frames: Scored frames.
        parts: Number of a part of the data set -> macro F1 of its frames.
        f1: Label -> mean over the parts of its F1 at 0.5; grades one against the others.
        pooled: Over all frames together: F1, accuracy, AUC, constant answers, kappa, confusion.
        at_thresholds: Label -> pooled F1 at the model's own thresholds; empty where it has none.
        landmark_error: Mean, in percent of the inter-ocular distance; None without landmarks.
        landmark_failures: Share of frames with more than 10 %.
    """

    num_frames: int
    parts: Mapping[int, float]
    f1: Mapping[str, float]
    pooled: Score
    at_thresholds: Mapping[str, float]
    landmark_error: float | None
    landmark_failures: float | None

    @property
    def macro_f1(self) -> float:
        """The mean over parts of their macro F1, as the papers report it."""
        return float(np.mean(list(self.parts.values())))

    @property
    def constant(self) -> float:
        """Macro F1 of the best constant answer over all frames."""
        return float(np.mean(list(self.pooled.constant.values())))


def score_dataset(
    predictions: Predictions, *, plan: Plan, thresholds: Mapping[str, float]
) -> DatasetScore:
    """Return how right predictions of a plan's frames are.

    Raises:
        DataError: No frame of these subjects is labelled.
    """
    labels = predictions.grade if plan.units is None else predictions.units
    if not np.isin(labels, range(4)).any():
        raise DataError(f"no frame of {plan.dataset.uri} is labelled", "inspect the data set")
    parts = {
        number: _rows_of(predictions, mine).score(plan.units)
        for number, mine in _parts(predictions, plan.dataset)
    }
    pooled = predictions.score(plan.units)
    names = list(pooled.per_label)
    errors = predictions.landmark_error[~np.isnan(predictions.landmark_error)]
    return DatasetScore(
        num_frames=len(predictions.index),
        parts={number: score.macro_f1 for number, score in parts.items()},
        f1={
            name: float(np.mean([score.per_label[name] for score in parts.values()]))
            for name in names
        },
        pooled=pooled,
        at_thresholds={
            name: f1_at(
                predictions.probabilities[:, column],
                labels=predictions.units[:, column],
                threshold=thresholds.get(name, THRESHOLD),
            )
            for column, name in enumerate(names)
            if thresholds and plan.units is not None
        },
        landmark_error=float(errors.mean()) if len(errors) else None,
        landmark_failures=float((errors > FAILURE).mean()) if len(errors) else None,
    )


def _parts(predictions: Predictions, dataset: Dataset) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each part that holds frames, and which rows are its own."""
    ends = np.cumsum([partition.num_frames for partition in dataset.manifest.partitions])
    names = np.array(dataset.manifest.subjects)
    subjects = names[np.searchsorted(ends, predictions.index, side="right")]
    for fold in dataset.manifest.folds:
        mine = np.isin(subjects, fold.test)
        if mine.any():
            yield fold.number, mine


def _rows_of(predictions: Predictions, mine: np.ndarray) -> Predictions:
    return Predictions(
        **{name: values.numpy()[mine] for name, values in predictions.tensors.items()}
    )


def _some(subjects: set[str]) -> str:
    first = sorted(subjects)[0]
    return f"{len(subjects)} subjects ({first}, ...)" if len(subjects) > 1 else f"subject {first}"


def _labels(units: Sequence[int]) -> str:
    return ", ".join(map(label_of, units))
