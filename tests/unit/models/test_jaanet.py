"""JAA-Net's versions: journal, conference, and number for number with the published code."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from aufleet_models import FaceModel, Prediction, build_model
from aufleet_models.layers.maps import hard_maps

BP4D = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
DISFA = (1, 2, 4, 6, 9, 12, 25, 26)
CONFERENCE = {"local_head": False, "refinement_weight": 1e-4}


def _small(**options: object) -> FaceModel:
    torch.manual_seed(0)
    return build_model("jaanet", task="au", units=[12, 1], width=0.0625, **options)


def _batch(face: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {
        "frames": torch.rand(2, 3, 176, 176) * 2 - 1,
        "landmarks": face + torch.randn(2, 49, 2),
        "units": torch.tensor([[1, 0], [0, 1]]),
    }


@pytest.mark.parametrize(
    ("units", "options", "count"),
    [
        (BP4D, {}, 25_237_182),
        (DISFA, {}, 20_653_226),
        (BP4D, CONFERENCE, 22_162_854),
        (DISFA, CONFERENCE, 18_603_674),
    ],
)
def test_both_versions_have_their_published_sizes(
    units: tuple[int, ...], options: dict, count: int
) -> None:
    with torch.device("meta"):
        model = build_model("jaanet", task="au", units=units, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize(
    ("part", "size"),
    [("stem", 1_615_392), ("alignment", 2_912_098), ("refinement", 905_484), ("overview", 813_312)],
)
def test_parts_have_their_published_sizes(part: str, size: int) -> None:
    with torch.device("meta"):
        model = build_model("jaanet", task="au", units=BP4D)
    assert sum(p.numel() for p in model.get_submodule(part).parameters()) == size


def test_heads_and_branches_have_their_published_sizes() -> None:
    for units, local, integrated in ((BP4D, 12_834_072, 6_156_824), (DISFA, 8_556_048, 6_152_720)):
        with torch.device("meta"):
            model = build_model("jaanet", task="au", units=units)
        sizes = {
            name: sum(p.numel() for p in model.get_submodule(name).parameters())
            for name in ("local", "readout.local", "readout.integrated")
        }
        assert sizes["local"] + sizes["readout.local"] == local
        assert sizes["readout.integrated"] == integrated


def test_the_conference_version_answers_with_one_head_that_trains_the_regions(face: Tensor) -> None:
    model = _small(**CONFERENCE)
    prediction: Prediction = model(_batch(face)["frames"])
    assert set(prediction.heads) == {"integrated"}
    prediction.logits.sum().backward()
    for name in ("local.layers.0.conv.weight", "refinement.layers.0.conv.weight"):
        gradient = model.get_parameter(name).grad
        assert gradient is not None
        assert gradient.count_nonzero() > 0


def test_the_conference_version_keeps_refined_maps_near_the_first_ones(face: Tensor) -> None:
    model, journal = _small(**CONFERENCE), _small(local_head=False)
    journal.load_state_dict(model.state_dict())
    batch = _batch(face)
    prediction = model(batch["frames"])
    losses, without = model.loss(prediction, batch), journal.loss(prediction, batch)
    assert prediction.maps is not None
    assert prediction.landmarks is not None
    first = hard_maps(model.centres(prediction.landmarks), size=52)
    expected = sum(
        functional.binary_cross_entropy(
            prediction.maps[:, unit : unit + 1],
            functional.interpolate(first[:, unit : unit + 1], size=44),
        )
        for unit in (0, 1)
    )
    torch.testing.assert_close(losses["refinement"], expected)
    assert "refinement" not in without
    torch.testing.assert_close(
        losses["total"],
        losses["integrated"] + 0.5 * losses["alignment"] + 1e-4 * losses["refinement"],
    )
    (gradient,) = torch.autograd.grad(
        losses["refinement"], model.get_parameter("refinement.last.bias")
    )
    assert gradient.count_nonzero() == 2


def test_the_journal_version_sums_two_heads_and_half_the_alignment(face: Tensor) -> None:
    model = _small()
    batch = _batch(face)
    losses = model.loss(model(batch["frames"]), batch)
    assert set(losses) == {"local", "integrated", "alignment", "total"}
    torch.testing.assert_close(
        losses["total"], losses["local"] + losses["integrated"] + 0.5 * losses["alignment"]
    )


def test_without_refinement_there_is_nothing_to_judge() -> None:
    with pytest.raises(ValueError, match="refinement_weight judges refined maps"):
        _small(refinement=False, refinement_weight=1e-4)
