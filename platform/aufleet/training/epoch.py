"""One pass over the training part."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from aufleet.errors import NonFiniteLossError
from aufleet.training.engine import Batch, Engine
from aufleet.training.fold_data import Loader
from aufleet.training.ranks import Ranks

CHECK_EVERY = 16
"""Steps between two looks at the losses: each look waits for the device and the other ranks."""


def train_epoch(
    engine: Engine, loader: Loader, *, epoch: int, rates: Sequence[float], ranks: Ranks
) -> float:
    """Train on every frame once and return the network's mean loss over the frames of all ranks.

    Args:
        engine: Of this rank.
        loader: The training part.
        epoch: From 1.
        rates: The learning rate of each step.
        ranks: The process group.

    Raises:
        NonFiniteLossError: On every rank, where the loss of one became NaN or infinite.
    """
    total, summed = 0.0, []
    for step, (batch, count, weight) in enumerate(_shares(loader, epoch, ranks), start=1):
        engine.set_learning_rate(rates[step - 1])
        summed.append(engine.step(batch, weight=weight) * count)
        if len(summed) == CHECK_EVERY:
            total += _total(summed, epoch=epoch, last_step=step, ranks=ranks)
            summed = []
    if summed:
        total += _total(summed, epoch=epoch, last_step=step, ranks=ranks)
    return total / loader.num_frames


def _shares(loader: Loader, epoch: int, ranks: Ranks) -> Iterator[tuple[Batch, int, float]]:
    """Yield batch, its number of frames, and the weight of its gradient.

    DeepSpeed takes the plain mean over ranks. In an uneven global batch a rank with more frames
    weighs more, so that each frame counts once. A rank without a frame repeats its last batch with
    weight 0: it must take part in the step.
    """
    previous: Batch | None = None
    for batch in loader.epoch(epoch):
        count, weight = len(batch["index"]), 1.0
        if ranks.size > 1:
            weight = count * ranks.size / float(ranks.sum(torch.tensor([float(count)])))
        if count:
            previous = {
                name: one.to(ranks.device, non_blocking=True) for name, one in batch.items()
            }
        if previous is not None:
            yield previous, count, weight


def _total(summed: list[Tensor], *, epoch: int, last_step: int, ranks: Ranks) -> float:
    values = ranks.sum(torch.stack(summed))
    wrong = (~values.isfinite()).nonzero().flatten().tolist()
    if wrong:
        step = last_step - len(summed) + 1 + wrong[0]
        raise NonFiniteLossError(
            f"the loss became {values[wrong[0]].item()} in epoch {epoch}, step {step}",
            "a lower learning rate or gradient_clipping may help",
        )
    return float(values.sum())
