"""Networks at full width with weights that have seen faces, and the faces."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from aufleet.data.alignment import CENTRE_OFFSET, centre_crop, to_input
from aufleet.data.decoding import decode_frame
from aufleet.data.records import ALIGNED_SIZE, FrameRecord
from aufleet.data.synthetic import SyntheticSettings, render_subject
from aufleet_models import FaceModel, TrainingStatistics, build_model

BP4D = [1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24]
LEARNING_RATE = 1e-3
BATCH = 8
NUM_SETTLING_BATCHES = 6


class Faces:
    """Synthetic faces of BP4D's units, rendered when they are asked for."""

    def __init__(self, *, subjects: int, frames: int, seed: int) -> None:
        self.settings = SyntheticSettings(
            num_subjects=subjects, frames_per_subject=frames, seed=seed, units=tuple(BP4D)
        )

    def batches(self, size: int) -> Iterator[dict[str, Tensor]]:
        """Yield frames (B, 3, 176, 176), units (B, 12) and landmarks (B, 49, 2)."""
        for number in range(self.settings.num_subjects):
            _, rows = render_subject(self.settings, number)
            for first in range(0, len(rows), size):
                yield _batch(rows[first : first + size])


def _batch(rows: list[FrameRecord]) -> dict[str, Tensor]:
    pictures = [centre_crop(decode_frame(row.jpeg, max_pixels=ALIGNED_SIZE**2)) for row in rows]
    landmarks = np.stack([row.landmarks for row in rows]) - CENTRE_OFFSET
    return {
        "frames": torch.from_numpy(to_input(np.stack(pictures))),
        "units": torch.tensor([row.units for row in rows]),
        "landmarks": torch.from_numpy(landmarks).float(),
    }


def network(name: str, *, steps: int) -> FaceModel:
    """Return a network in evaluation mode, after a few steps of training.

    Untrained weights would answer all faces alike, and rounding would not be seen.
    """
    torch.manual_seed(0)
    model = build_model(name, task="au", units=BP4D)
    faces = Faces(subjects=max(1, steps // 4), frames=4 * BATCH, seed=1)
    batches = list(faces.batches(BATCH))[:steps]
    mean_shape = torch.cat([batch["landmarks"] for batch in batches]).mean(0)
    model.use_statistics(TrainingStatistics(mean_shape=mean_shape))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    for batch in batches:
        optimizer.zero_grad()
        model.loss(model(batch["frames"], batch["landmarks"]), batch)["total"].backward()
        optimizer.step()
    _settle(model, batches)
    return model.eval()


@torch.no_grad()
def _settle(model: FaceModel, batches: list[dict[str, Tensor]]) -> None:
    """Let the statistics of the batch norms be those of the last weights."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean
    for batch in batches[-NUM_SETTLING_BATCHES:]:
        model(batch["frames"], batch["landmarks"])
