"""The deployment that finds and aligns the faces of a photo, on the CPU."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aufleet.data.alignment import align
from aufleet.data.decoding import decode_frame
from aufleet.data.faces import FaceFinder, FoundFace
from aufleet.errors import DeadlineError, FaceError, OverloadedError
from aufleet.serving.exchange import LocatedFace, LocatedFaces
from aufleet.serving.gradability import judge_face


class Finder(Protocol):
    """Finds the faces of a photo, the largest first."""

    def find(self, frame: NDArray[np.uint8]) -> Sequence[FoundFace]:
        """Return them; nothing where there is none."""
        ...


class Aligner:
    """Decodes, finds, aligns: one photo at a time, in a thread, so that the loop stays free."""

    def __init__(
        self,
        *,
        max_pixels: int,
        max_waiting: int,
        make_finder: Callable[[], Finder] = FaceFinder,
    ) -> None:
        """Load the face finder.

        Args:
            max_pixels: Photos with more are refused.
            max_waiting: The most photos that wait for their turn; more are told to come again.
            make_finder: Returns what finds faces.
        """
        self._max_pixels, self._max_waiting = max_pixels, max_waiting
        self._num_waiting = 0
        self._finder = make_finder()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aligner")

    async def locate(self, encoded: bytes, *, every_face: bool, timeout_s: float) -> LocatedFaces:
        """Return the faces of a photo that can be aligned.

        Args:
            encoded: A JPEG or PNG.
            every_face: All of them; otherwise only the largest.
            timeout_s: A photo whose turn comes later than this is dropped.

        Raises:
            FrameError: Not a picture, or too many pixels.
            DeadlineError: Its turn came too late.
            OverloadedError: Too many photos wait already.
        """
        if self._num_waiting >= self._max_waiting:
            raise OverloadedError("too many photos are waiting", "try again in a moment")
        deadline = time.monotonic() + timeout_s
        loop = asyncio.get_running_loop()
        self._num_waiting += 1
        try:
            # A caller that has gone cancels this, and with it work that has not begun.
            return await loop.run_in_executor(
                self._thread,
                lambda: self._locate(encoded, every_face=every_face, deadline=deadline),
            )
        finally:
            self._num_waiting -= 1

    def _locate(self, encoded: bytes, *, every_face: bool, deadline: float) -> LocatedFaces:
        began = time.monotonic()
        if began >= deadline:
            raise DeadlineError("the deadline passed before the aligner had its turn")
        frame = decode_frame(encoded, max_pixels=self._max_pixels)
        decoded = time.monotonic()
        found = self._finder.find(frame)
        looked = time.monotonic()
        faces = _align_faces(frame, found, every_face=every_face)
        aligned = time.monotonic()
        timings_ms = {
            "decode": (decoded - began) * 1e3,
            "find_face": (looked - decoded) * 1e3,
            "align": (aligned - looked) * 1e3,
        }
        return LocatedFaces(faces=faces, timings_ms=timings_ms)


def _align_faces(
    frame: NDArray[np.uint8], found: Sequence[FoundFace], *, every_face: bool
) -> tuple[LocatedFace, ...]:
    """Return the faces that can be aligned; one that is too small is left out."""
    faces: list[LocatedFace] = []
    for face in found:
        if faces and not every_face:
            break
        try:
            aligned = align(frame, face.landmarks)
        except FaceError:
            continue
        faces.append(
            LocatedFace(
                box=face.box,
                landmarks=face.landmarks,
                aligned=aligned.frame,
                to_aligned=aligned.to_aligned,
                ungradable=judge_face(face, aligned.frame, shape=frame.shape),
            )
        )
    return tuple(faces)
