"""What a network says of a face, and where it looked: the numbers of `aufleet models show`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aufleet.cli.models_show_face import ShownFace
from aufleet.cli.models_show_network import ShownNetwork
from aufleet.errors import ConfigError, FaceError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from aufleet_models.activation_maps import Evidence
    from aufleet_models.contract import FaceModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Relations:
    """Relation matrices of MGRR-Net, in the order of its regions.

    Attributes:
        prior: (R, R), the values before training.
        learned: (K, R, R), one per layer.
    """

    prior: "NDArray[np.float32]"
    learned: "NDArray[np.float32]"


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """A network's answer and the reasons for it; of several members their mean.

    Attributes:
        crop: (S, S, 3) uint8, what the network saw.
        probabilities: (O,) of the units or grades, calibrated where the network is.
        active: (O,) units above their threshold, or the most probable grade.
        landmarks: (49, 2) predicted, in pixels of the crop; None where the network predicts none.
        found: (49, 2) found by the face finder, in pixels of the crop, or None.
        attention: (R, s, s) maps in [0, 1] of the units or palsy regions; None without.
        activation: (O, S, S) class activation maps in [0, 1].
        relations: None where the network has no region graph.
    """

    crop: "NDArray[np.uint8]"
    probabilities: "NDArray[np.float32]"
    active: "NDArray[np.bool_]"
    landmarks: "NDArray[np.float32] | None"
    found: "NDArray[np.float32] | None"
    attention: "NDArray[np.float32] | None"
    activation: "NDArray[np.float32]"
    relations: Relations | None


def explain(network: ShownNetwork, face: ShownFace) -> Answer:
    """Return what the network says of the face.

    Raises:
        ConfigError: The network takes larger crops than an aligned frame has.
        FaceError: The network needs landmarks, and none were found.
    """
    from aufleet.domain.landmarks import POINTS_49_OF_68
    from aufleet_models.activation_maps import class_activation_maps

    members = list(network.members.values())
    crop, points = _cut(face, size=members[0].frame_size)
    seen = _look(members, crop, points)
    probabilities, active = _decide(network, seen)
    landmarks = _mean([one.prediction.landmarks for one in seen])
    attention = _mean([one.prediction.maps for one in seen])
    density = _known(_mean([one.density for one in seen]))
    return Answer(
        crop=crop,
        probabilities=probabilities,
        active=active,
        landmarks=None if landmarks is None else landmarks.numpy(),
        found=None if points is None else points[POINTS_49_OF_68],
        attention=None if attention is None else attention.numpy(),
        activation=class_activation_maps(density).numpy(),
        relations=_relations(members),
    )


def _cut(face: ShownFace, *, size: int) -> "tuple[NDArray[np.uint8], NDArray[np.float32] | None]":
    """Return the centre crop of a side, and the 68 landmarks in its pixels."""
    import numpy as np

    aligned = face.frame.shape[0]
    if size > aligned:
        raise ConfigError(
            f"the network takes crops of {size} pixels", f"aligned frames have {aligned}"
        )
    offset = (aligned - size) // 2
    crop = face.frame[offset : offset + size, offset : offset + size]
    points = None if face.landmarks is None else face.landmarks - np.float32(offset)
    return crop, points


def _look(
    members: "Sequence[FaceModel]",
    crop: "NDArray[np.uint8]",
    points: "NDArray[np.float32] | None",
) -> "list[Evidence]":
    import torch

    from aufleet.data.alignment import to_input
    from aufleet.domain.landmarks import POINTS_49_OF_68
    from aufleet_models.activation_maps import find_evidence

    frames = torch.from_numpy(to_input(crop[None]))
    landmarks, wanted = None, members[0].num_points
    if wanted:
        if points is None:
            raise FaceError(
                "the network reads landmarks, and no face was found in the aligned frame",
                "give the photo itself, without --aligned",
            )
        chosen = points if wanted == len(points) else points[POINTS_49_OF_68]
        landmarks = torch.from_numpy(chosen)[None]
    return [find_evidence(member, frames, landmarks) for member in members]


def _decide(
    network: ShownNetwork, seen: "Sequence[Evidence]"
) -> "tuple[NDArray[np.float32], NDArray[np.bool_]]":
    """Return probabilities and what holds: as `FoldEnsemble`, from the members' mean logits."""
    import numpy as np

    logits = _known(_mean([one.prediction.logits for one in seen])) / network.temperature
    if network.task == "palsy":
        grades = logits.softmax(dim=0).numpy()
        return grades, np.arange(len(grades)) == grades.argmax()
    units = logits.sigmoid().numpy()
    return units, units >= np.array(network.thresholds, dtype=np.float32)


def _relations(members: "Sequence[FaceModel]") -> Relations | None:
    from aufleet_models.mgrrnet import MGRRNet

    graphs = [one for one in members if isinstance(one, MGRRNet) and len(one.relations())]
    if not graphs:
        return None
    return Relations(
        prior=_known(_mean([one.prior[None] for one in graphs])).numpy(),
        learned=_known(_mean([one.relations()[None] for one in graphs])).numpy(),
    )


def _mean(parts: "Sequence[torch.Tensor | None]") -> "torch.Tensor | None":
    """Return the mean over members of the only face of each; None where there is no such part."""
    import torch

    known = [part[0].float() for part in parts if part is not None]
    return torch.stack(known).mean(dim=0) if known else None


def _known(part: "torch.Tensor | None") -> "torch.Tensor":
    assert part is not None
    return part
