"""How the renderer's inner loops are compiled by numba, and the kinds of numbers that they take.

All work on one thread: data sets are rendered by many processes. Numbers are float32 throughout;
`ONE` and its like keep numba from widening them to float64.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]
Triple = tuple[np.float32, np.float32, np.float32]

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
TINY = np.float32(1e-12)

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """Compile a function on its first call and keep the machine code on disk where that works."""
    return _compiled(function, fastmath=True)


def exactly_compiled(function: _Function) -> _Function:
    """Compile a function whose numbers are those of numpy, bit for bit."""
    return _compiled(function, fastmath=False)


def inlined(function: _Function) -> _Function:
    """Compile a function into its callers, a pixel's work as one piece."""
    return cast(_Function, numba.njit(inline="always", **_options(fastmath=True))(function))


def _compiled(function: _Function, *, fastmath: bool) -> _Function:
    options = _options(fastmath=fastmath)
    try:
        return cast(_Function, numba.njit(cache=True, **options)(function))
    except RuntimeError:
        # Neither the package's folder nor the user's cache folder can be written.
        return cast(_Function, numba.njit(**options)(function))


def _options(*, fastmath: bool) -> dict[str, Any]:
    return {"fastmath": fastmath, "error_model": "numpy"}
