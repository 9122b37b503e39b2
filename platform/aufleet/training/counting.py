"""Loaders that tell how far they are, for whoever watches a trial or a score."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from aufleet.data.labels import LabelStatistics
from aufleet.training.fold_data import FoldData, Loader
from aufleet.training.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class CountedLoader:
    """A loader that tells of each batch that is done.

    Attributes:
        loader: Yields the batches.
        done: Called with the number of frames of a batch, once the next one is asked for.
    """

    loader: Loader
    done: Callable[[int], None]

    @property
    def num_frames(self) -> int:
        """Frames of the part, over all ranks."""
        return self.loader.num_frames

    @property
    def steps_per_epoch(self) -> int:
        """Global batches in an epoch."""
        return self.loader.steps_per_epoch

    def epoch(self, epoch: int, /) -> Iterator[dict[str, Tensor]]:
        """Yield this rank's batches."""
        for batch in self.loader.epoch(epoch):
            yield batch
            self.done(len(batch["index"]))

    def statistics(self) -> LabelStatistics:
        """Return the label counts."""
        return self.loader.statistics()


@dataclass(frozen=True, kw_only=True)
class CountedFold:
    """A fold that tells how many frames of an epoch are trained.

    Attributes:
        fold: Holds the frames.
        opened: Called with the frames of an epoch.
        done: Called as in `CountedLoader`, for the training part.
    """

    fold: FoldData
    opened: Callable[[int], None]
    done: Callable[[int], None]

    @property
    def units(self) -> tuple[int, ...] | None:
        """The units to detect; None for palsy."""
        return self.fold.units

    def train(self, *, frame_size: int, ranks: Ranks) -> CountedLoader:
        """Return the training part."""
        loader = self.fold.train(frame_size=frame_size, ranks=ranks)
        self.opened(loader.num_frames)
        return CountedLoader(loader=loader, done=self.done)

    def validation(self, *, frame_size: int, ranks: Ranks) -> Loader:
        """Return the validation part."""
        return self.fold.validation(frame_size=frame_size, ranks=ranks)
