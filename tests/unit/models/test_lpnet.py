import pytest
import torch
from torch import Tensor

from aufleet_models import build_model
from aufleet_models.layers.selective import selective_weights
from aufleet_models.lpnet import LPNet, shape_of

BP4D = [1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24]
DISFA = [1, 2, 4, 6, 9, 12, 25, 26]
SMALL = {"width": 0.125, "num_points": 49, "frame_size": 64, "input_size": 64, "hidden": 32}


def _small(task: str = "au", **options: object) -> LPNet:
    torch.manual_seed(0)
    units = [1, 4, 12] if task == "au" else None
    model = build_model("lpnet", task=task, units=units, **{**SMALL, **options})
    assert isinstance(model, LPNet)
    return model


@pytest.fixture
def landmarks() -> Tensor:
    points = torch.rand(4, 49, 2) * 40
    points[:, 25:31, 0] += 60
    return points


@pytest.fixture
def frames() -> Tensor:
    return torch.rand(4, 3, 64, 64)


@pytest.mark.parametrize(
    ("units", "options", "count"),
    [
        (BP4D, {}, 25_403_480),
        (BP4D, {"num_points": 49}, 25_393_752),
        (BP4D, {"hidden": 256}, 30_922_328),
        (BP4D, {"hidden": 512}, 46_678_616),
        (DISFA, {}, 24_086_096),
    ],
)
def test_parameter_counts(units: list[int], options: dict[str, int], count: int) -> None:
    with torch.device("meta"):
        model = build_model("lpnet", task="au", units=units, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_p_net_has_the_size_of_the_figure() -> None:
    with torch.device("meta"):
        model = build_model("lpnet", task="au", units=BP4D)
    assert isinstance(model, LPNet)
    assert model.person is not None
    assert sum(parameter.numel() for parameter in model.person.parameters()) == 172_812
    assert sum(parameter.numel() for parameter in model.stem.parameters()) == 21_284_672


def test_palsy_has_four_lstms() -> None:
    with torch.device("meta"):
        model = build_model("lpnet", task="palsy")
    assert isinstance(model, LPNet)
    assert model.local.num_units == 4


def test_p_net_without_landmarks_says_what_it_needs(frames: Tensor) -> None:
    with pytest.raises(ValueError, match="needs the landmarks of each frame"):
        _small()(frames)


def test_the_network_says_how_many_landmarks_it_needs() -> None:
    assert _small().num_points == 49
    assert _small(num_points=68).num_points == 68
    assert _small(person_specific=False).num_points == 0


def test_without_p_net_no_landmarks_are_needed(frames: Tensor) -> None:
    assert _small(person_specific=False)(frames).logits.shape == (4, 3)


def test_another_number_of_points_is_refused(frames: Tensor, landmarks: Tensor) -> None:
    with pytest.raises(ValueError, match="build the network with num_points 49"):
        _small(num_points=68)(frames, landmarks)


def test_sixty_eight_points_are_taken(frames: Tensor) -> None:
    points = torch.rand(4, 68, 2)
    points[:, 42:48] += 2
    assert _small(num_points=68)(frames, points).logits.isfinite().all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_landmarks_that_are_no_numbers_are_an_error(
    frames: Tensor, landmarks: Tensor, value: float
) -> None:
    landmarks[2, 7, 1] = value
    with pytest.raises(ValueError, match="of sample 2 hold NaN"):
        _small()(frames, landmarks)


def test_the_shape_does_not_see_where_and_how_large_a_face_is(landmarks: Tensor) -> None:
    moved = landmarks * 3 + torch.tensor([7.0, -5.0])
    torch.testing.assert_close(shape_of(moved), shape_of(landmarks))


def test_the_shape_is_measured_from_the_eyes() -> None:
    points = torch.zeros(1, 49, 2)
    points[:, 19:25] = torch.tensor([10.0, 20.0])
    points[:, 25:31] = torch.tensor([30.0, 20.0])
    points[:, 13] = torch.tensor([20.0, 40.0])
    shape = shape_of(points).view(1, 49, 2)
    torch.testing.assert_close(shape[0, [19, 25, 13]], torch.tensor([[-0.5, 0], [0.5, 0], [0, 1]]))


@pytest.mark.parametrize("stem", [18, 34, 50])
def test_every_stem_fits(frames: Tensor, landmarks: Tensor, stem: int) -> None:
    assert _small(stem=stem)(frames, landmarks).logits.shape == (4, 3)


@torch.no_grad()
def test_without_l_net_each_region_is_judged_alone(frames: Tensor) -> None:
    model = _small(local_relations=False, person_specific=False).eval()
    regions = model.stem(frames * model.scale + model.shift).flatten(2).transpose(1, 2)
    each = model.local(regions)
    torch.testing.assert_close(model(frames).logits, each.mean(dim=1))


@torch.no_grad()
def test_orthogonality_is_the_cosine_the_product_or_nothing(
    frames: Tensor, landmarks: Tensor
) -> None:
    batch = {"units": torch.zeros(4, 3, dtype=torch.int64)}
    losses = {}
    for kind in ("cosine", "raw", "none"):
        model = _small(orthogonality=kind, orthogonality_weight=2.0).eval()
        losses[kind] = model.loss(model(frames, landmarks), batch)
    assert 0 < losses["cosine"]["orthogonality"] <= 1
    assert losses["raw"]["orthogonality"] > 0
    assert losses["raw"]["orthogonality"] != losses["cosine"]["orthogonality"]
    assert "orthogonality" not in losses["none"]
    for parts in losses.values():
        expected = parts["label"] + 2 * parts.get("orthogonality", torch.tensor(0.0))
        torch.testing.assert_close(parts["total"], expected)


def test_labels_are_selected_in_training_only(frames: Tensor, landmarks: Tensor) -> None:
    units = torch.tensor([[1, 1, 9], [0, 0, 0], [0, 1, 1], [0, 9, 0]])
    model = _small()
    prediction = model(frames, landmarks)
    losses = torch.nn.functional.binary_cross_entropy_with_logits(
        prediction.logits, (units == 1).float(), reduction="none"
    )
    coded = (units != 9).float()

    torch.manual_seed(5)
    selected = model.loss(prediction, {"units": units})["label"]
    torch.manual_seed(5)
    weights = selective_weights(units, target=0.5, cap=10.0)
    assert not torch.equal(weights, coded)
    torch.testing.assert_close(selected, ((losses * weights).sum(0) / coded.sum(0)).mean())

    plain = ((losses * coded).sum(0) / coded.sum(0)).mean()
    torch.testing.assert_close(model.eval().loss(prediction, {"units": units})["label"], plain)
    unselected = _small(selective_learning=False)
    torch.testing.assert_close(unselected.loss(prediction, {"units": units})["label"], plain)


@torch.no_grad()
def test_crops_of_another_size_are_resized(landmarks: Tensor) -> None:
    model = _small(person_specific=False).eval()
    assert model.frame_size == 64
    assert model(torch.rand(1, 3, 176, 176)).logits.shape == (1, 3)


def test_by_default_the_usual_crop_becomes_the_papers_49_regions(landmarks: Tensor) -> None:
    model = build_model("lpnet", task="au", units=BP4D, width=0.0625, num_points=49).eval()
    assert model.frame_size == 176
    seen = []
    model.get_submodule("stem").register_forward_hook(lambda _, args, out: seen.append(out.shape))
    model(torch.rand(4, 3, 176, 176), landmarks)
    assert seen[0][2:] == (7, 7)


def test_a_target_above_one_half_is_refused() -> None:
    with pytest.raises(ValueError, match=r"selective_target is 0\.7"):
        _small(selective_target=0.7)


def test_steps_of_the_papers_schedule_share_their_parts() -> None:
    first = _small(local_relations=False, person_specific=False).state_dict()
    second = _small(person_specific=False).state_dict()
    third = _small().state_dict()
    stem = {name for name in third if name.startswith("stem.")}
    assert stem == {name for name in first if name.startswith("stem.")}
    assert {name for name in third if not name.startswith("person.")} == set(second)
