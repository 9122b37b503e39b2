"""What a process needs before DeepSpeed, and what a trial may change in it."""

import gc
import logging
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from types import ModuleType

import numpy as np
import torch

# DeepSpeed's ZeRO-3 puts its own function there for the whole process and leaves it; it is
# remembered here, before DeepSpeed can be imported.
_LINEAR = torch.nn.functional.linear

_NOISE = (
    # torch 2.13 on what DeepSpeed 0.19 calls.
    (FutureWarning, r"`torch\.distributed\.\w+` is deprecated"),
    # torch's own compiler, which DeepSpeed imports for an optimizer that is not used here.
    (DeprecationWarning, r"`torch\.jit\.script_method` is deprecated"),
    (UserWarning, r".*barrier\(\): using the device under current context"),
    (DeprecationWarning, r".*invalid escape sequence"),
)
"""Warnings of third parties that nobody here can mend."""


@cache
def load_deepspeed() -> ModuleType:
    """Import DeepSpeed, once per process, and make it quiet.

    None of its compiled operators is used: on a CPU it would compile one for shared memory at its
    first use (half a minute, and a crash without a C++ compiler); plain gloo gives the same
    numbers. An empty table of operators also spares it from asking the compiler what it could
    build.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    with quiet(), _hidden("mlflow"):
        import deepspeed
        import deepspeed.ops
        from deepspeed.utils import logger
    logger.setLevel(logging.ERROR)
    setattr(deepspeed.ops, "__compatible_ops__", {})  # noqa: B010 - pyright knows no such name
    return deepspeed


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Let imports of a package fail: DeepSpeed's autotuner takes 2 of its 3 s for MLflow."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        del sys.modules[package]


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the warnings of third parties that nobody here can mend."""
    with warnings.catch_warnings():
        for category, message in _NOISE:
            warnings.filterwarnings("ignore", category=category, message=message)
        yield


@contextmanager
def trial_process(*, threads: int, seed: int) -> Iterator[None]:
    """Run a trial so that it computes what a fresh process computes, and leave no trace.

    What a trial may change is put back at the end: `torch.nn.functional.linear`, random
    generators, threads, deterministic and autocast flags, default type, working directory and
    CUDA's cache.

    Args:
        threads: CPU threads of torch inside.
        seed: Of every random generator inside.
    """
    with ExitStack() as undo:
        undo.enter_context(quiet())
        gc.freeze()  # what was there before need not be searched again and again: 0.2 s each time
        undo.callback(_release_memory)
        for restore in _snapshot():
            undo.callback(restore)
        torch.nn.functional.linear = _LINEAR
        torch.set_num_threads(threads)
        seed_everything(seed)
        yield


def seed_everything(*numbers: int) -> None:
    """Seed Python's, NumPy's and torch's generators with a mix of the numbers."""
    mixed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)


def _snapshot() -> list[Callable[[], object]]:
    """Return what puts back each thing that a trial may change."""
    state, numpy_state, torch_state = random.getstate(), np.random.get_state(), _torch_generators()
    folder, threads, dtype = os.getcwd(), torch.get_num_threads(), torch.get_default_dtype()
    strict = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    autocast = {kind: torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")}
    return [
        lambda: setattr(torch.nn.functional, "linear", _LINEAR),
        lambda: random.setstate(state),
        lambda: np.random.set_state(numpy_state),
        lambda: _restore_torch_generators(torch_state),
        lambda: os.chdir(folder),
        lambda: torch.set_num_threads(threads),
        lambda: torch.set_default_dtype(dtype),
        lambda: torch.use_deterministic_algorithms(strict),
        lambda: setattr(torch.backends.cudnn, "benchmark", benchmark),
        lambda: [torch.set_autocast_enabled(kind, on) for kind, on in autocast.items()],
    ]


def _torch_generators() -> tuple[torch.Tensor, list[torch.Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if _cuda_is_used() else []


def _restore_torch_generators(state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


def _release_memory() -> None:
    gc.collect()  # engines hold cycles: hooks that name their own module
    gc.unfreeze()
    if _cuda_is_used():
        torch.cuda.empty_cache()


def _cuda_is_used() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_initialized()
