"""A network made ready to answer: folded, in the dtype and layout that suit the machine."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from aufleet_models.contract import FaceModel, Prediction
from aufleet_models.layers.branches import BranchLinear
from aufleet_models.layers.folded.fusion import FoldedFusion
from aufleet_models.layers.folded.packed import pack
from aufleet_models.layers.folded.skip_lstm import FoldedSkipBiLSTM
from aufleet_models.layers.heads import IntegratedHead, LocalHeads

Precision = Literal["auto", "fp32", "bf16"]

MAX_GRAPHS = 16
"""Batch sizes that keep a CUDA graph; further ones run without."""
LOWERED = (nn.Linear, BranchLinear, FoldedFusion, FoldedSkipBiLSTM)
"""Layers whose weights are stored in bf16 where the network answers in it."""
NUM_WARM_UP_RUNS = 3
"""Before a CUDA graph is captured."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How a network runs, and why.

    Attributes:
        device: As torch names it.
        dtype: Of convolutions and matrix products; probabilities and landmarks are fp32 always.
        packed: Weights are laid out for the CPU's library.
        graphs: CUDA graphs replay each batch size.
        reason: Why this dtype.
    """

    device: str
    dtype: torch.dtype
    packed: bool
    graphs: bool
    reason: str

    def __str__(self) -> str:
        """Return one line for a log."""
        dtype = "bf16" if self.dtype is torch.bfloat16 else "fp32"
        parts = [self.device, f"{dtype} ({self.reason})", "folded", "channels_last"]
        parts += ["packed weights"] if self.packed else []
        parts += ["CUDA graphs"] if self.graphs else []
        return ", ".join(parts)


class InferenceModel(nn.Module):
    """A network of the catalog, or an ensemble of some, for answers only.

    `torch.compile` is not used: on a CPU it made a forward 8 to 10 % faster after 73 s of
    compiling (JAA-Net, two cores), and it needs a compiler on the machine that serves.

    Args:
        model: A `FaceModel`, or a module that calls some; it is not changed.
        device: Where it runs.
        precision: "auto" is bf16 where the processor or GPU multiplies bf16 numbers and the
            network bears it, else fp32. The same machine always chooses the same: nothing is timed.

    Raises:
        ValueError: An unknown precision.

    Attributes:
        choice: What was chosen; `str` of it is one line.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        device: str | torch.device = "cpu",
        precision: Precision = "auto",
    ) -> None:
        super().__init__()
        device = torch.device(device)
        dtype, reason = _dtype(precision, device, model)
        self.model = _folded(model).to(device).eval().requires_grad_(requires_grad=False)
        packed = device.type == "cpu" and _can_pack(dtype)
        with torch.no_grad():
            self.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
            if dtype is torch.bfloat16:
                _keep_exact(self.model, packed=packed)
                _lower(self.model)
            if packed:
                pack(self.model, dtype=dtype)
        self.choice = Choice(
            device=str(device),
            dtype=dtype,
            packed=packed,
            graphs=device.type == "cuda",
            reason=reason,
        )
        self._graphs: dict[tuple[int, ...], _Graph] = {}

    @torch.inference_mode()
    def forward(self, frames: Tensor, landmarks: Tensor | None = None) -> Prediction:
        """Return the prediction, its tensors on the network's device.

        Args:
            frames: (B, 3, S, S) in [-1, 1], on any device.
            landmarks: (B, P, 2) for a network that takes them.
        """
        device = torch.device(self.choice.device)
        frames = frames.to(device)
        landmarks = None if landmarks is None else landmarks.to(device)
        if not self.choice.graphs or landmarks is not None:
            return self._run(frames, landmarks)
        return self._replay(frames)

    def _run(self, frames: Tensor, landmarks: Tensor | None = None) -> Prediction:
        with self._autocast():
            return self.model(frames, landmarks)

    def _autocast(self) -> AbstractContextManager:
        if self.choice.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(torch.device(self.choice.device).type, dtype=self.choice.dtype)

    def _replay(self, frames: Tensor) -> Prediction:
        shape = tuple(frames.shape)
        if shape not in self._graphs:
            if len(self._graphs) == MAX_GRAPHS:
                return self._run(frames)
            self._graphs[shape] = _Graph(self._run, frames)
        return self._graphs[shape](frames)


class _Graph:
    """One captured forward: no launch costs when it is replayed."""

    def __init__(self, run: Callable[[Tensor], Prediction], frames: Tensor) -> None:
        self.frames = frames.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(NUM_WARM_UP_RUNS):
                run(self.frames)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.prediction = run(self.frames)

    def __call__(self, frames: Tensor) -> Prediction:
        self.frames.copy_(frames)
        self.graph.replay()
        # The next replay overwrites the graph's own tensors.
        tensors = {
            field.name: value.clone()
            for field in fields(self.prediction)
            if isinstance(value := getattr(self.prediction, field.name), Tensor)
        }
        return replace(self.prediction, **tensors, heads={})


def _dtype(precision: Precision, device: torch.device, model: nn.Module) -> tuple[torch.dtype, str]:
    if precision not in get_args(Precision):
        choices = ", ".join(get_args(Precision))
        raise ValueError(f"precision is {precision!r}: choose one of {choices}")
    if precision != "auto":
        return (torch.bfloat16 if precision == "bf16" else torch.float32), "as asked"
    if not has_bf16(device):
        return torch.float32, "it has no bf16 instructions"
    if not all(part.bears_bf16 for part in model.modules() if isinstance(part, FaceModel)):
        return torch.float32, "bf16 would change the answers"
    return torch.bfloat16, "it has bf16 instructions"


def has_bf16(device: torch.device) -> bool:
    """Return whether a device multiplies bf16 numbers itself."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    known = torch.cpu.get_capabilities()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16") or known.get("arm_bf16"))


def _can_pack(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype is torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _folded(model: nn.Module) -> nn.Module:
    """Return a copy in which each network is folded."""
    if isinstance(model, FaceModel):
        return model.eval().fold_for_inference()
    copied = copy.deepcopy(model)
    for owner in list(copied.modules()):
        for name, child in list(owner.named_children()):
            if isinstance(child, FaceModel):
                setattr(owner, name, child.eval().fold_for_inference())
    return copied


class _Exact(nn.Module):
    """A part that runs in fp32, also under autocast."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part.float()

    def forward(self, x: Tensor, **options: bool) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.part(x.float(), **options)


def _keep_exact(model: nn.Module, *, packed: bool) -> None:
    for network in list(model.modules()):
        if not isinstance(network, FaceModel):
            continue
        for name in network.exact_parts:
            part = getattr(network, name, None)
            if part is not None:
                if packed:
                    pack(part, dtype=torch.float32)
                setattr(network, name, _Exact(part))


def _lower(model: nn.Module) -> None:
    """Store the weights of matrix products in bf16: autocast would convert them in each call.

    The last layers remain exact, which costs nothing.
    """
    exact = {
        id(part)
        for owner in model.modules()
        if isinstance(owner, _Exact | IntegratedHead | LocalHeads)
        for part in owner.modules()
    }
    for module in model.modules():
        if isinstance(module, LOWERED) and id(module) not in exact:
            module.to(torch.bfloat16)
