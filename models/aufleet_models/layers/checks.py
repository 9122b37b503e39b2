"""Refusals of numbers that would turn into a silent NaN."""

import torch
from torch import Tensor


def require_finite(values: Tensor, *, what: str) -> None:
    """Raise where any value is NaN or infinite.

    Nothing is looked at while a graph is traced or captured, where no value is known yet.

    Raises:
        ValueError: Names `what` and the first sample (first index) that is not finite.
    """
    if values.is_meta or torch.compiler.is_compiling() or _is_capturing(values):
        return
    finite = torch.isfinite(values)
    if not finite.all():
        sample = int((~finite).flatten(1).any(1).nonzero()[0])
        raise ValueError(f"{what} of sample {sample} hold NaN or infinity: leave the frame out")


def _is_capturing(values: Tensor) -> bool:
    return values.is_cuda and torch.cuda.is_current_stream_capturing()
