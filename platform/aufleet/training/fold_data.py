"""The frames of a trial: its fold's training and validation parts as batches.

A trial gets a data set in which the subjects of the test part cannot be read. Only the final
score opens the test part, by `open_test`.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from aufleet.data.cache import node_cache
from aufleet.data.dataset import WITHDRAWN, Dataset, open_dataset
from aufleet.data.labels import LabelStatistics
from aufleet.data.loader import FoldLoader
from aufleet.data.manifest import Partition
from aufleet.data.shard_reader import ShardReader
from aufleet.domain.folds import NO_FOLD
from aufleet.domain.landmarks import NUM_POINTS
from aufleet.errors import DataError
from aufleet.training.config import TrialConfig, option_names
from aufleet.training.ranks import Ranks
from aufleet_models.contract import TrainingStatistics

EVALUATION_BATCH = 64
"""Frames that a rank evaluates at once."""
KEPT_FRAMES = 8192
"""Frames that a process keeps decoded over trials (120 KB each)."""
KEPT_STREAMS = 2
"""Loaders of larger parts that it keeps, each with processes of its own."""
_POINTS_OPTION = "num_points"
"""Option of the networks that read landmarks (LP-Net): how many."""


class Loader(Protocol):
    """Batches of one part, for one rank: what `FoldLoader` offers."""

    @property
    def num_frames(self) -> int:
        """Frames of the part, over all ranks."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Global batches in an epoch; every rank makes as many steps."""
        ...

    def epoch(self, epoch: int, /) -> Iterator[dict[str, Tensor]]:
        """Yield this rank's share of each global batch of an epoch, possibly with no frames."""
        ...

    def statistics(self) -> LabelStatistics:
        """Return the label counts over the frames of all ranks."""
        ...


class FoldData(Protocol):
    """What a trial sees of a fold."""

    @property
    def units(self) -> tuple[int, ...] | None:
        """The units to detect; None for palsy."""
        ...

    def train(self, *, frame_size: int, ranks: Ranks) -> Loader:
        """Return the training part, shuffled and augmented."""
        ...

    def validation(self, *, frame_size: int, ranks: Ranks) -> Loader:
        """Return the validation part."""
        ...


class TestData(Protocol):
    """What the final score sees of a fold."""

    @property
    def units(self) -> tuple[int, ...] | None:
        """The units to detect; None for palsy."""
        ...

    def test(self, *, frame_size: int, ranks: Ranks) -> Loader:
        """Return the test part."""
        ...


@dataclass(frozen=True, kw_only=True)
class _PublishedData:
    """A fold of a published data set."""

    config: TrialConfig
    dataset: Dataset

    @property
    def units(self) -> tuple[int, ...] | None:
        """The configuration's units, or else the data set's; None for palsy."""
        if self.config.task == "palsy":
            return None
        return self.config.units or tuple(self.dataset.manifest.units)

    def _evaluated(self, part: str, *, frame_size: int, ranks: Ranks) -> FoldLoader:
        return self._loader(
            part,
            batch=EVALUATION_BATCH * ranks.size,
            seed=0,
            augment=False,
            frame_size=frame_size,
            rank=ranks.rank,
            ranks=ranks.size,
        )

    def _loader(self, part: str, **settings: object) -> FoldLoader:
        subjects = _subjects(self.dataset, fold=self.config.fold, part=part)
        settings["num_points"] = fitted_options(self.config).get(_POINTS_OPTION, NUM_POINTS)
        key = (self.dataset.uri, subjects, self.units, *sorted(settings.items()))

        def read() -> FoldLoader:
            return FoldLoader(
                self.dataset,
                subjects=subjects,
                units=self.units,
                cache=node_cache(),
                **settings,  # pyright: ignore[reportArgumentType]
            )

        return _kept(key, read)


class PublishedFold(_PublishedData):
    """The training and validation parts."""

    def train(self, *, frame_size: int, ranks: Ranks) -> FoldLoader:
        """Return the training part, shuffled and augmented."""
        return self._loader(
            "train",
            batch=self.config.batch,
            seed=self.config.seed,
            augment=self.config.augment,
            frame_size=frame_size,
            shuffle_labels=self.config.shuffle_labels,
            rank=ranks.rank,
            ranks=ranks.size,
        )

    def validation(self, *, frame_size: int, ranks: Ranks) -> FoldLoader:
        """Return the validation part."""
        return self._evaluated("validation", frame_size=frame_size, ranks=ranks)


class PublishedTest(_PublishedData):
    """The test part."""

    def test(self, *, frame_size: int, ranks: Ranks) -> FoldLoader:
        """Return the test part."""
        return self._evaluated("test", frame_size=frame_size, ranks=ranks)


@dataclass(frozen=True, kw_only=True)
class PartialDataset(Dataset):
    """A data set of which only some subjects can be read, by whatever way."""

    readable: frozenset[str]
    why: str

    def partition(self, subject: str) -> Partition:
        """Return where a subject's frames lie; raises DataError for one that is kept back."""
        return self._allowed(super().partition(subject))

    def read_partition(self, partition: Partition) -> bytes:
        """Return the bytes of a partition; raises DataError for one that is kept back."""
        return super().read_partition(self._allowed(partition))

    def _allowed(self, partition: Partition) -> Partition:
        if partition.subject not in self.readable:
            raise DataError(f"subject {partition.subject} of {self.uri} is kept back", self.why)
        return partition


def open_fold(config: TrialConfig) -> PublishedFold:
    """Open the data of a trial: not its test part.

    Raises:
        DataError: A subject of the data set has withdrawn.
        ObjectMissingError: There is no such data set.
        ObjectCorruptError: Its manifest is damaged.
    """
    whole = _open(config.dataset)
    return PublishedFold(
        config=config,
        dataset=PartialDataset(
            store=whole.store,
            manifest=whole.manifest,
            readable=frozenset(whole.manifest.subjects_known_to(config.fold)),
            why=f"a trial of fold {config.fold} trains and validates on the other subjects",
        ),
    )


def open_test(config: TrialConfig) -> PublishedTest:
    """Open the test part of a trial's fold: for its final score and nothing else.

    Raises:
        As `open_fold`.
    """
    return PublishedTest(config=config, dataset=_open(config.dataset))


def fitted_options(config: TrialConfig) -> dict[str, Any]:
    """Return the options of the trial's network, open ones filled in from its data set.

    A network that reads landmarks takes as many as the data set has, unless the trial says how
    many.
    """
    options = dict(config.options)
    if _POINTS_OPTION in option_names(config.model) and _POINTS_OPTION not in options:
        options[_POINTS_OPTION] = _num_points(config.dataset, config.fold)
    return options


def training_statistics(train: Loader) -> TrainingStatistics:
    """Return the label counts of the training part as a network takes them."""
    counted = train.statistics()
    return TrainingStatistics(
        **{name: torch.from_numpy(value).float() for name, value in vars(counted).items()}
    )


def _subjects(dataset: Dataset, *, fold: int, part: str) -> tuple[str, ...]:
    """Return the subjects of a part of a fold.

    A trial without a fold trains on all of them: nobody is left to judge it. The first stands in
    for a validation part; whoever refits takes no advice from that score.
    """
    everyone = dataset.manifest.subjects
    if fold == NO_FOLD and part != "test":
        return everyone if part == "train" else everyone[:1]
    return getattr(dataset.fold(fold), part)


@lru_cache(maxsize=4)
def _open(uri: str) -> Dataset:
    """Return a data set; it never changes, so a process opens it once."""
    dataset = open_dataset(uri)
    # Their frames may well lie in this node's cache.
    if withdrawn := dataset.store.keys(f"{WITHDRAWN}/"):
        raise DataError(
            f"{len(withdrawn)} of the subjects of {dataset.uri} withdrew",
            "use the version without them",
        )
    return dataset


@lru_cache(maxsize=8)
def _num_points(uri: str, fold: int) -> int:
    """Return the most landmarks that the frames have, 68 or 49, as one training subject has.

    One tells: the importer that made a data set found the landmarks of all its frames in one
    way. Where it is mistaken, the loader says so.
    """
    dataset = _open(uri)
    partition = dataset.partition(min(_subjects(dataset, fold=fold, part="train")))
    reader = ShardReader(dataset=dataset, partitions=(partition,), cache=node_cache())
    points = reader.open(0).landmarks_68
    return NUM_POINTS if np.isnan(points).any() else points.shape[1]


_loaders: OrderedDict[tuple, FoldLoader] = OrderedDict()


def _kept(key: tuple, read: Callable[[], FoldLoader]) -> FoldLoader:
    """Return the loader of the key; the last few stay for the next trial."""
    loader = _loaders.pop(key, None) or read()
    _loaders[key] = loader
    while len(_loaders) > 1 and _is_too_much(_loaders.values()):
        _loaders.popitem(last=False)
    return loader


def _is_too_much(loaders: Iterable[FoldLoader]) -> bool:
    decoded = [one.num_frames for one in loaders if one.is_decoded]
    return sum(decoded) > KEPT_FRAMES or sum(not one.is_decoded for one in loaders) > KEPT_STREAMS
