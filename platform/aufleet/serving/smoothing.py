"""Probabilities of a video smoothed over time, each face by itself.

Exponential smoothing by the frames' own times: after a gap of dt seconds the new frame weighs
1 - exp(-dt / time constant). Units and region values are smoothed as they are, grades
and side as log-probabilities, whose exponentials are normalised. What the caller gets is

- the first frame of a face as it is;
- nothing from a frame in which the face is missing or must not be judged: it neither changes the
  state nor resets it. The gap makes the past weigh less by itself: after three time constants
  without the face 5 % of it are left;
- the next frame as it is where the face lies elsewhere (its box shares less than `MIN_OVERLAP` with
  the last one), where the frames are mirrored from now on, or where another model version answers:
  two people, or two networks, are never mixed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aufleet.serving.exchange import Box, Task
from aufleet.serving.pipeline import AnalyzedFace, AnalyzedFrame

MIN_OVERLAP = 0.3
"""Intersection over union of two boxes from which they are the same face."""
FORGOTTEN = 10.0
"""Time constants after which a face that was not seen again is forgotten: 0.005 % are left."""
MAX_TRACKS = 64
"""Faces that are remembered at the same time; the oldest are forgotten first."""
SMALLEST_PROBABILITY = 1e-12

Values = Mapping[str, NDArray[np.float64]]
"""Field of `AnalyzedFace` -> its numbers in the scale in which they are smoothed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Track:
    """A face as it was when it was last judged."""

    box: Box
    time_s: float
    values: Values


class Smoother:
    """The state of one stream."""

    def __init__(self, time_constant_s: float) -> None:
        """Begin without a face.

        Args:
            time_constant_s: More than 0.
        """
        self._time_constant_s = time_constant_s
        self._tracks: list[_Track] = []
        self._answered_by: object = None

    def smooth(
        self, frame: AnalyzedFrame, *, time_s: float, task: Task, answered_by: object
    ) -> AnalyzedFrame:
        """Return the frame with its faces' numbers smoothed.

        Args:
            frame: As the network answered.
            time_s: Its own time; more than that of the frame before.
            task: What the probabilities are of.
            answered_by: Whatever makes frames comparable; when it changes, all begins anew.
        """
        if answered_by != self._answered_by:
            self._tracks, self._answered_by = [], answered_by
        oldest_s = time_s - FORGOTTEN * self._time_constant_s
        known = [track for track in self._tracks if track.time_s >= oldest_s]
        smoothed, seen = [], []
        for face in frame.faces:
            if face.ungradable is not None:
                smoothed.append(face)
                continue
            track = _take_nearest(known, box=face.box)
            values = self._mix(_values_of(face, task=task), track, time_s=time_s)
            seen.append(_Track(box=face.box, time_s=time_s, values=values))
            smoothed.append(_with_values(face, values, task=task))
        self._tracks = [*seen, *known][:MAX_TRACKS]
        return replace(frame, faces=tuple(smoothed))

    def _mix(self, new: Values, track: _Track | None, *, time_s: float) -> Values:
        if track is None or track.values.keys() != new.keys():
            return new
        weight = -math.expm1(-(time_s - track.time_s) / self._time_constant_s)
        return {name: old + weight * (new[name] - old) for name, old in track.values.items()}


def _take_nearest(tracks: list[_Track], *, box: Box) -> _Track | None:
    """Return the track of the same face and take it out of the list."""
    nearest = max(tracks, key=lambda track: _overlap(track.box, box), default=None)
    if nearest is None or _overlap(nearest.box, box) < MIN_OVERLAP:
        return None
    tracks.remove(nearest)
    return nearest


def _overlap(one: Box, other: Box) -> float:
    """Return intersection over union."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / max(one[2] * one[3] + other[2] * other[3] - shared, 1e-9)


def _values_of(face: AnalyzedFace, *, task: Task) -> Values:
    exclusive = task == "palsy"
    values = {"probabilities": _scaled(face.probabilities, exclusive=exclusive)}
    if face.side is not None:
        values["side"] = _scaled(face.side, exclusive=True)
    if face.regions is not None:
        values["regions"] = face.regions.astype(np.float64)
    return values


def _with_values(face: AnalyzedFace, values: Values, *, task: Task) -> AnalyzedFace:
    exclusive = {"probabilities": task == "palsy", "side": True, "regions": False}
    numbers = {name: _unscaled(value, exclusive=exclusive[name]) for name, value in values.items()}
    return replace(face, **numbers)


def _scaled(numbers: NDArray[np.float32], *, exclusive: bool) -> NDArray[np.float64]:
    wide = numbers.astype(np.float64)
    return np.log(np.maximum(wide, SMALLEST_PROBABILITY)) if exclusive else wide


def _unscaled(values: NDArray[np.float64], *, exclusive: bool) -> NDArray[np.float32]:
    if not exclusive:
        return values.astype(np.float32)
    numbers = np.exp(values - values.max())
    return (numbers / numbers.sum()).astype(np.float32)
