"""A network that costs nothing, as a package; and the plain way to serve it through Ray's proxy."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from aufleet.registry.card import Architecture, Card, DatasetReference
from aufleet_models.contract import Prediction

UNITS = (1, 12)


class Trivial(nn.Module):
    """Answers the same for every frame."""

    def forward(self, frames: torch.Tensor, landmarks: object = None) -> Prediction:
        """Return a half for each unit."""
        half = torch.full((len(frames), len(UNITS)), 0.5)
        return Prediction(logits=half, probabilities=half)


def load_trivial(uri: str) -> Any:
    """Return the package, whatever the URI."""
    card = Card(
        name="trivial",
        task="au",
        kind="best-fold",
        architecture=Architecture(name="trivial", options={}),
        members=("fold1",),
        units=UNITS,
        frame_size=176,
        thresholds={"AU1": 0.5, "AU12": 0.5},
        temperature=1.0,
        scores=(),
        dataset=DatasetReference(uri="none", manifest_sha256="0" * 64),
        code_version="0",
        trials=(),
        created=datetime(2026, 1, 1, tzinfo=UTC),
        weights_sha256="0" * 64,
        weights_size_bytes=1,
    )
    return SimpleNamespace(card=card, model=Trivial().eval())
