"""The deployment that runs one model version."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from aufleet.data.alignment import CENTRE_OFFSET, CROP_SIZE, centre_crop, to_input
from aufleet.data.decoding import decode_frame
from aufleet.data.records import ALIGNED_SIZE
from aufleet.domain.action_units import label_of
from aufleet.errors import FrameError, NotReadyError, PackageError
from aufleet.serving.batching import Batcher
from aufleet.serving.exchange import ModelFacts, NetworkAnswers, Ungradable
from aufleet.serving.gradability import judge_sharpness

if TYPE_CHECKING:
    import torch
    from torch import nn

    from aufleet.registry.card import Card
    from aufleet_models.contract import Prediction

logger = logging.getLogger(__name__)

Pixels = NDArray[np.uint8] | NDArray[np.float32]
"""An aligned frame, (200, 200, 3) uint8 RGB; or a network's input, (3, 176, 176) float32."""


class Package(Protocol):
    """A model package that is ready to answer."""

    @property
    def card(self) -> "Card":
        """What it is."""
        ...

    @property
    def model(self) -> "nn.Module":
        """The network; `model(frames)` gives a `Prediction`."""
        ...


def load_package(uri: str) -> Package:
    """Return the package at a URI or its copy on this node, its digests checked.

    Raises:
        PackageError: It is damaged, incomplete or of an unknown schema.
    """
    # Imported here: the process that deploys names this function and needs no torch.
    from aufleet.serving.package_cache import load_cached

    return load_cached(uri)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Face:
    """One item of a batch."""

    pixels: Pixels
    attention: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class _FaceAnswer:
    """One row of a prediction."""

    probabilities: NDArray[np.float32]
    landmarks: NDArray[np.float32] | None
    side: NDArray[np.float32] | None
    regions: NDArray[np.float32] | None
    attention_png: bytes | None


class Analyzer:
    """A package's network behind a queue that makes batches."""

    def __init__(
        self,
        *,
        max_batch: int,
        max_waiting: int,
        threads: int = 0,
        sharing: int = 1,
        device: str = "cpu",
        load: Callable[[str], Package] = load_package,
    ) -> None:
        """Begin without a package: `open` takes one.

        Args:
            max_batch: The most faces of one forward pass.
            max_waiting: The most faces that wait for their turn; more are told to come again.
            threads: Of the network; 0 for its share of the cores that this process may use.
            sharing: Analyzers among which those cores are shared.
            device: Where the network runs, as torch names it.
            load: Returns the package at a URI.
        """
        self._device, self._max_batch = device, max_batch
        # Threads of two networks on the same cores wait for each other at every operation: two
        # analyzers with two threads each answered a quarter of what one did on two cores.
        self._threads = threads or max(1, len(os.sched_getaffinity(0)) // sharing)
        self._load = load
        self._facts: ModelFacts | None = None
        # All of torch in one thread: OpenMP keeps helpers for each thread that asks for them, and
        # once they are more than the cores they sleep between any two operations. On two cores
        # that made a small network take nearly twice as long.
        self._batcher: Batcher[_Face, _FaceAnswer] = Batcher(
            self._answer, max_batch=max_batch, max_waiting=max_waiting
        )

    async def prepare(self) -> None:
        """Import the networks and their libraries, which takes longest and needs no package.

        It takes only time that nobody else wants: beside a network whose threads have a core each,
        anything else that runs makes these wait for each other.
        """
        # A thread of its own: it keeps its low rank to its end.
        with ThreadPoolExecutor(max_workers=1) as thread:
            await asyncio.get_running_loop().run_in_executor(thread, _import_networks)

    async def open(self, package_uri: str) -> None:
        """Load a package and run it once, so that the first caller does not wait for that.

        Raises:
            PackageError: It cannot be loaded, or takes frames that are not served.
        """
        self._facts = await self._batcher.do(lambda: self._open(package_uri))

    async def describe(self) -> ModelFacts:
        """Return what callers need to know of the package.

        Raises:
            NotReadyError: There is none yet.
        """
        if self._facts is None:
            raise NotReadyError("the analyzer has no package yet", "try again in a moment")
        return self._facts

    async def analyze(
        self, faces: Sequence[Pixels], *, attention: bool, timeout_s: float, turn: str = ""
    ) -> NetworkAnswers:
        """Return the network's answers for aligned frames, in their order.

        Args:
            faces: At least one; aligned frames or a network's inputs.
            attention: Adds a picture of the attention maps of each.
            timeout_s: Faces whose turn comes later than this are dropped.
            turn: The request or stream that they belong to: those take turns.

        Raises:
            DeadlineError: Their turn came too late.
            OverloadedError: Too many faces wait already.
        """
        began = time.monotonic()
        waiting = [
            self._batcher.submit(
                _Face(pixels=pixels, attention=attention),
                deadline=began + timeout_s,
                turn=turn,
            )
            for pixels in faces
        ]
        # One face is the rule, and needs no task of its own.
        answers = [await waiting[0]] if len(waiting) == 1 else await asyncio.gather(*waiting)
        return NetworkAnswers(
            probabilities=np.stack([answer.probabilities for answer in answers]),
            landmarks=_stack([answer.landmarks for answer in answers]),
            side=_stack([answer.side for answer in answers]),
            regions=_stack([answer.regions for answer in answers]),
            attention_png=tuple(
                answer.attention_png for answer in answers if answer.attention_png is not None
            )
            or None,
            network_ms=(time.monotonic() - began) * 1e3,
            batch_size=self._batcher.last_batch_size,
            num_waiting=self._batcher.num_waiting,
        )

    async def analyze_encoded(
        self, encoded: bytes, *, attention: bool, timeout_s: float, turn: str = ""
    ) -> NetworkAnswers:
        """Return the network's answer for an aligned frame as JPEG or PNG.

        Raises:
            FrameError: Not a picture, or not of 200 x 200 pixels.
            DeadlineError: Its turn came too late.
        """
        # Here and not in a thread: 200 x 200 pixels take less time than going to one and back.
        pixels, ungradable = _decode_aligned(encoded)
        answers = await self.analyze([pixels], attention=attention, timeout_s=timeout_s, turn=turn)
        return answers if ungradable is None else replace(answers, ungradable=ungradable)

    def _open(self, uri: str) -> ModelFacts:
        """Make a package's network ready to answer."""
        import torch

        from aufleet_models.inference import InferenceModel

        torch.set_num_threads(self._threads)
        package = self._load(uri)
        _check_inputs(package, uri=uri)
        # Untrained heads would only guess.
        self._silenced = dict.fromkeys({"side", "regions"} - set(package.card.trained_heads))
        # Evaluated, calibrated and compared in fp32: other rounding would be another model.
        self._model = InferenceModel(package.model, device=self._device, precision="fp32")
        logger.info("%s answers on %s", uri, self._model.choice)
        return self._warm_up(package.card, batch_sizes=(self._max_batch, 1))

    def _warm_up(self, card: "Card", *, batch_sizes: Sequence[int]) -> ModelFacts:
        grey = np.zeros((3, CROP_SIZE, CROP_SIZE), dtype=np.float32)
        for size in batch_sizes:
            prediction = self._predict([_Face(pixels=grey, attention=False)] * size)
        return ModelFacts(
            task=card.task,
            architecture=card.architecture.name,
            weights_sha256=card.weights_sha256,
            units=card.units,
            thresholds=tuple(card.thresholds[label_of(unit)] for unit in card.units),
            frame_size=card.frame_size,
            has_side=prediction.side is not None,
            has_regions=prediction.regions is not None,
        )

    def _predict(self, faces: Sequence[_Face]) -> "Prediction":
        import torch

        frames = torch.from_numpy(_inputs_of([face.pixels for face in faces]))
        return replace(self._model(frames), **self._silenced)

    def _answer(self, faces: Sequence[_Face]) -> list[_FaceAnswer]:
        """Run one batch; called in the batcher's thread."""
        prediction = self._predict(faces)
        rows = range(len(faces))
        probabilities = _rows(prediction.probabilities, rows)
        landmarks, side = _rows(prediction.landmarks, rows), _rows(prediction.side, rows)
        regions = _rows(prediction.regions, rows)
        maps = _rows(prediction.maps if any(face.attention for face in faces) else None, rows)
        return [
            _FaceAnswer(
                probabilities=_known(probabilities[row]),
                landmarks=_to_aligned(landmarks[row]),
                side=side[row],
                regions=regions[row],
                attention_png=_draw(maps[row]) if faces[row].attention else None,
            )
            for row in rows
        ]


def _import_networks() -> None:
    """Import what a package needs, in time that nobody else wants."""
    with suppress(OSError):  # some containers forbid it: then it takes its share
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    import aufleet_models.inference  # noqa: F401
    from aufleet.serving import package_cache  # noqa: F401


def _check_inputs(package: Package, *, uri: str) -> None:
    if package.card.frame_size != CROP_SIZE:
        raise PackageError(
            f"{uri} takes crops of {package.card.frame_size} pixels",
            f"only networks for {CROP_SIZE} pixels are served",
        )
    if getattr(package.model, "num_points", 0):
        raise PackageError(
            f"{uri} needs the landmarks of each face, which are not given to networks yet",
            "train LP-Net with person_specific: false to serve it",
        )


def _decode_aligned(encoded: bytes) -> tuple[NDArray[np.uint8], Ungradable | None]:
    """Return an aligned frame, and why it must not be judged."""
    frame = decode_frame(encoded, max_pixels=ALIGNED_SIZE**2)
    if frame.shape[:2] != (ALIGNED_SIZE, ALIGNED_SIZE):
        height, width = frame.shape[:2]
        raise FrameError(
            f"the aligned frame is {width} x {height} pixels",
            f"send {ALIGNED_SIZE} x {ALIGNED_SIZE}",
        )
    return frame, judge_sharpness(frame)


def _inputs_of(faces: Sequence[Pixels]) -> NDArray[np.float32]:
    """Return a network's inputs, (B, 3, 176, 176); crops of aligned frames together."""
    if all(pixels.dtype == np.uint8 for pixels in faces):
        crops = [centre_crop(pixels.astype(np.uint8, copy=False)) for pixels in faces]
        return to_input(np.stack(crops))
    if len(faces) == 1:
        return faces[0].astype(np.float32, copy=False)[None]
    return np.concatenate([_inputs_of([pixels]) for pixels in faces])


def _rows(
    tensor: "torch.Tensor | None", rows: Sequence[int]
) -> Sequence[NDArray[np.float32] | None]:
    """Return a tensor's rows as arrays; None for each where there is no tensor."""
    if tensor is None:
        return [None for _ in rows]
    return list(tensor.float().cpu().numpy())


def _known(row: NDArray[np.float32] | None) -> NDArray[np.float32]:
    assert row is not None
    return row


def _to_aligned(landmarks: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """Move points of the crop to the aligned frame that it was cut from."""
    return None if landmarks is None else landmarks + np.float32(CENTRE_OFFSET)


def _draw(maps: NDArray[np.float32] | None) -> bytes | None:
    """Return the strongest of the (U, S, S) maps at each place, as a PNG of the aligned frame."""
    if maps is None:
        return None
    import cv2

    strongest = cv2.resize(np.clip(maps.max(axis=0), 0, 1), (CROP_SIZE, CROP_SIZE))
    canvas = np.zeros((ALIGNED_SIZE, ALIGNED_SIZE), dtype=np.uint8)
    centre_crop(canvas[..., None])[..., 0] = np.rint(strongest * 255)
    return cv2.imencode(".png", canvas)[1].tobytes()


def _stack(rows: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    """Return the rows as one array; None where the network does not answer that."""
    known = [row for row in rows if row is not None]
    return np.stack(known) if known else None
