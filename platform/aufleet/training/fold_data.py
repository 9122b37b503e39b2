"""The frames of a trial: its fold's training, validation and test parts as batches."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from aufleet.data.dataset import Dataset, open_dataset
from aufleet.data.labels import LabelStatistics
from aufleet.data.loader import FoldLoader
from aufleet.domain.landmarks import NUM_POINTS
from aufleet.training.config import TrialConfig, option_names
from aufleet.training.ranks import Ranks
from aufleet_models.contract import TrainingStatistics

EVALUATION_BATCH = 64
"""Frames that a rank evaluates at once."""
KEPT_FRAMES = 8192
"""Frames that a process keeps decoded over trials (120 KB each)."""
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
    """The three parts of a fold."""

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

    def test(self, *, frame_size: int, ranks: Ranks) -> Loader:
        """Return the test part."""
        ...


@dataclass(frozen=True, kw_only=True)
class PublishedFold:
    """The parts of a fold of a published data set."""

    config: TrialConfig
    dataset: Dataset

    @property
    def units(self) -> tuple[int, ...] | None:
        """The configuration's units, or else the data set's; None for palsy."""
        if self.config.task == "palsy":
            return None
        return self.config.units or tuple(self.dataset.manifest.units)

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

    def test(self, *, frame_size: int, ranks: Ranks) -> FoldLoader:
        """Return the test part."""
        return self._evaluated("test", frame_size=frame_size, ranks=ranks)

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
        subjects = getattr(self.dataset.fold(self.config.fold), part)
        settings["num_points"] = fitted_options(self.config).get(_POINTS_OPTION, NUM_POINTS)
        key = (self.dataset.uri, subjects, self.units, *sorted(settings.items()))

        def read() -> FoldLoader:
            return FoldLoader(self.dataset, subjects=subjects, units=self.units, **settings)  # pyright: ignore[reportArgumentType]

        return _kept(key, read)


def open_fold(config: TrialConfig) -> PublishedFold:
    """Open the data of a trial.

    Raises:
        ObjectMissingError: There is no such data set.
        ObjectCorruptError: Its manifest is damaged.
    """
    return PublishedFold(config=config, dataset=_open(config.dataset))


def fitted_options(config: TrialConfig) -> dict[str, Any]:
    """Return the options of the trial's network, open ones filled in from its data set.

    A network that reads landmarks takes as many as the data set has, unless the trial says how
    many.
    """
    options = dict(config.options)
    if _POINTS_OPTION in option_names(config.model) and _POINTS_OPTION not in options:
        options[_POINTS_OPTION] = _num_points(config.dataset)
    return options


def training_statistics(train: Loader) -> TrainingStatistics:
    """Return the label counts of the training part as a network takes them."""
    counted = train.statistics()
    return TrainingStatistics(
        **{name: torch.from_numpy(value).float() for name, value in vars(counted).items()}
    )


# A published data set never changes, so a process opens it once.
_open = lru_cache(maxsize=4)(open_dataset)
_num_points = lru_cache(maxsize=4)(lambda uri: _open(uri).num_points())
_loaders: OrderedDict[tuple, FoldLoader] = OrderedDict()


def _kept(key: tuple, read: Callable[[], FoldLoader]) -> FoldLoader:
    """Return the loader of the key; the last few small ones stay decoded for the next trial."""
    loader = _loaders.pop(key, None) or read()
    _loaders[key] = loader
    while len(_loaders) > 1 and sum(one.num_frames for one in _loaders.values()) > KEPT_FRAMES:
        _loaders.popitem(last=False)
    return loader
