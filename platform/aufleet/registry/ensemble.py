"""Several fold members that answer as one network."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aufleet_models.contract import FaceModel, Prediction


class FoldEnsemble(nn.Module):
    """The mean logits of its members, divided by a temperature.

    Logits are averaged, not probabilities, so that the calibrated probabilities remain exactly the
    sigmoid (units) or softmax (grades) of the answer's logits. Everything else is a plain mean.
    """

    def __init__(
        self, members: Sequence[FaceModel], *, temperature: float, exclusive: bool
    ) -> None:
        """Keep the members.

        Args:
            members: At least one network, all of one architecture.
            temperature: Divides the mean logits.
            exclusive: True where exactly one label holds (grades): softmax instead of sigmoid.
        """
        super().__init__()
        self.members = nn.ModuleList(members)
        self.temperature, self.exclusive = temperature, exclusive
        self.frame_size, self.num_points = members[0].frame_size, members[0].num_points

    def forward(self, frames: Tensor, landmarks: Tensor | None = None) -> Prediction:
        """Return the calibrated prediction for frames (B, 3, S, S) in [-1, 1]."""
        answers: list[Prediction] = [member(frames, landmarks) for member in self.members]
        logits = torch.stack([answer.logits for answer in answers]).mean(dim=0) / self.temperature
        return Prediction(
            logits=logits,
            probabilities=logits.softmax(dim=-1) if self.exclusive else logits.sigmoid(),
            landmarks=_mean([answer.landmarks for answer in answers]),
            maps=_mean([answer.maps for answer in answers]),
            side=_mean([answer.side for answer in answers]),
            regions=_mean([answer.regions for answer in answers]),
        )


def _mean(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Return the mean, or None where any member has no such part: nothing is guessed."""
    known = [part for part in parts if part is not None]
    return torch.stack(known).mean(dim=0) if len(known) == len(parts) else None
