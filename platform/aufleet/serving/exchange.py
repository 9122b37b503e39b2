"""The plain values that travel between the deployments of the application.

N faces of one call, U action units.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["au", "palsy"]
Reason = Literal["pose", "blur", "occlusion"]
Box = tuple[float, float, float, float]
"""x, y, width, height in pixels of the sent frame."""


@dataclass(frozen=True, kw_only=True)
class Ungradable:
    """Why a face must not be judged."""

    reason: Reason
    """The first that was found."""
    message: str
    """One sentence for a person: what was measured, and what is asked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LocatedFace:
    """A face that the aligner found in a photo."""

    box: Box
    """Around the face."""
    landmarks: NDArray[np.float32]
    """(49, 2), pixels of the sent frame."""
    aligned: NDArray[np.uint8]
    """(200, 200, 3) RGB."""
    to_aligned: NDArray[np.float64]
    """(2, 3), maps points of the sent frame to points of the aligned one."""
    ungradable: Ungradable | None = None
    """None where it can be judged."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LocatedFaces:
    """What the aligner says of a photo."""

    faces: tuple[LocatedFace, ...]
    """The largest first."""
    timings_ms: dict[str, float] = field(default_factory=dict)
    """"decode", "find_face" and "align"."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkAnswers:
    """What an analyzer says of N faces."""

    probabilities: NDArray[np.float32]
    """(N, U), or (N, 4) for the palsy grades; calibrated."""
    landmarks: NDArray[np.float32] | None
    """(N, 49, 2) in pixels of the aligned frame; None where the network predicts none."""
    side: NDArray[np.float32] | None
    """(N, 3): none, patient's left, patient's right; None without the head."""
    attention_png: tuple[bytes, ...] | None
    """N pictures of 200 x 200; None where they were not asked for or the network has no maps."""
    network_ms: float
    """From the call's arrival at the analyzer until its answer."""
    regions: NDArray[np.float32] | None = None
    """(N, 12) impairment in the order of `REGION_NAMES`; None without the head."""
    ungradable: Ungradable | None = None
    """Of a frame that came encoded and aligned."""
    batch_size: int = 0
    """Faces that shared the last forward pass, of other calls too; 0 where it is not known."""
    num_waiting: int = 0
    """Faces that wait in the analyzer now."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What an analyzer tells of the package that it has loaded."""

    task: Task
    """What it answers."""
    architecture: str
    """The network's name in the catalog."""
    weights_sha256: str
    """Digest of the weights."""
    units: tuple[int, ...]
    """FACS numbers in the order of the probabilities; empty for palsy."""
    thresholds: tuple[float, ...]
    """One per unit."""
    frame_size: int
    """Side of the square crop that the network takes, in pixels."""
    has_side: bool
    """It tells the affected side."""
    has_regions: bool = False
    """It tells how impaired each region of the face is."""

    @property
    def num_outputs(self) -> int:
        """Units, or the four grades."""
        return len(self.units) or 4
