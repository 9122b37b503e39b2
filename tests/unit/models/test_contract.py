"""What the contract asks of every network of the catalog, at small widths."""

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from aufleet_models import FaceModel, TrainingStatistics, build_model

UNITS = (1, 4, 12, 25)
SMALL = {
    "resnet18": {"frame_size": 64},
    "resnet50": {"frame_size": 64},
    "medt": {"input_size": 32, "zero_start": False},
    "lpnet": {"num_points": 49, "frame_size": 64, "input_size": 64, "hidden": 64},
    "mgrrnet": {},
    "algrnet": {},
    "lgrnet": {},
    "jaanet": {},
}
WIDTH = 0.125
CASES = [(name, task) for name in SMALL for task in ("au", "palsy")]
every_case = pytest.mark.parametrize(("name", "task"), CASES)


def _build(name: str, task: str, **options: object) -> FaceModel:
    torch.manual_seed(0)
    units = UNITS if task == "au" else None
    return build_model(name, task=task, units=units, width=WIDTH, **SMALL[name], **options)


def _face(batch: int) -> Tensor:
    """Landmarks that make a face: spread points, eyes apart."""
    points = torch.rand(batch, 49, 2) * 40 + 60
    points[:, 25:31, 0] += 50
    return points


def _batch(model: FaceModel, *, size: int = 4) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {
        "frames": torch.rand(size, 3, model.frame_size, model.frame_size) * 2 - 1,
        "landmarks": _face(size),
        "units": torch.randint(0, 2, (size, len(UNITS))),
        "grade": torch.arange(size) % 4,
    }


def _statistics() -> TrainingStatistics:
    return TrainingStatistics(
        positive_rates=torch.tensor([0.1, 0.2, 0.4, 0.3]),
        agreement=torch.rand(4, 4),
        grade_rates=torch.tensor([0.4, 0.3, 0.2, 0.1]),
        mean_shape=_face(1)[0],
    )


@every_case
def test_answers_are_probabilities_of_the_right_shape(name: str, task: str) -> None:
    model = _build(name, task)
    batch = _batch(model)
    prediction = model(batch["frames"], batch["landmarks"])
    assert prediction.logits.shape == prediction.probabilities.shape == (4, 4)
    assert prediction.side is None
    assert prediction.regions is None
    if task == "au":
        torch.testing.assert_close(prediction.probabilities, prediction.logits.sigmoid())
    else:
        torch.testing.assert_close(prediction.probabilities.sum(dim=1), torch.ones(4))


@every_case
def test_the_gradient_reaches_every_parameter(name: str, task: str) -> None:
    heads = {"side_head": True, "region_head": True} if task == "palsy" else {}
    model = _build(name, task, **heads)
    model.use_statistics(_statistics())
    for parameter in model.parameters():
        if parameter.count_nonzero() == 0:  # adaptive regions start at "no shift"
            torch.nn.init.normal_(parameter, std=0.1)
    batch = _batch(model)
    batch |= {"side": torch.tensor([0, 1, 2, 9]), "regions": torch.rand(4, 12)}
    losses = model.loss(model(batch["frames"], batch["landmarks"]), batch)
    losses["total"].backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        # The softmax does not see a shift of all its logits.
        if "logit_norms" not in parameter_name:
            assert parameter.grad.count_nonzero() > 0, parameter_name


@every_case
@torch.no_grad()
def test_in_evaluation_a_frame_does_not_see_its_batch(name: str, task: str) -> None:
    model = _build(name, task)
    batch = _batch(model)
    model(batch["frames"], batch["landmarks"])  # running statistics
    model.eval()
    together = model(batch["frames"], batch["landmarks"]).logits
    alone = model(batch["frames"][2:3], batch["landmarks"][2:3]).logits
    torch.testing.assert_close(together[2:3], alone, atol=1e-4, rtol=1e-4)


@every_case
@torch.no_grad()
def test_weights_and_counts_survive_a_file(name: str, task: str) -> None:
    model = _build(name, task)
    model.use_statistics(_statistics())
    batch = _batch(model)
    model(batch["frames"], batch["landmarks"])
    copy = build_model(**model.config)
    copy.load_state_dict(load(save(model.state_dict())))
    first, second = (one.eval()(batch["frames"], batch["landmarks"]) for one in (model, copy))
    torch.testing.assert_close(first.logits, second.logits, atol=0, rtol=0)
    first, second = (one.loss(first, batch)["total"] for one in (model, copy))
    assert first == second


@every_case
@torch.no_grad()
def test_folded_networks_give_the_same_answers(name: str, task: str) -> None:
    model = _build(name, task)
    batch = _batch(model)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.weight.uniform_(0.5, 1.5)
            module.bias.uniform_(-0.2, 0.2)
    for _ in range(3):
        model(batch["frames"], batch["landmarks"])
    folded = model.eval().fold_for_inference()
    expected = model(batch["frames"], batch["landmarks"]).probabilities
    torch.testing.assert_close(
        folded(batch["frames"], batch["landmarks"]).probabilities, expected, atol=1e-4, rtol=1e-4
    )


@every_case
def test_bf16_autocast_stays_near_fp32(name: str, task: str) -> None:
    model = _build(name, task)
    batch = _batch(model, size=2)
    model(batch["frames"], batch["landmarks"])
    model.eval()
    with torch.no_grad():
        exact = model(batch["frames"], batch["landmarks"]).probabilities
        with torch.autocast("cpu", dtype=torch.bfloat16):
            near = model(batch["frames"], batch["landmarks"]).probabilities
    assert near.dtype == torch.float32
    torch.testing.assert_close(near, exact, atol=0.05, rtol=0)
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.loss(model(batch["frames"], batch["landmarks"]), batch)["total"]
    loss.backward()
    assert loss.isfinite()


@pytest.mark.parametrize("name", SMALL)
def test_labels_that_are_not_coded_do_not_count(name: str) -> None:
    model = _build(name, "au").eval()
    model.use_statistics(_statistics())
    batch = _batch(model)
    with torch.no_grad():
        prediction = model(batch["frames"], batch["landmarks"])
    batch["units"][1:] = 9
    masked = model.loss(prediction, batch)
    only = {key: value[:1] for key, value in batch.items()}
    with torch.no_grad():
        alone = model.loss(model(only["frames"], only["landmarks"]), only)
    for part in set(masked) - {"total", "alignment", "orthogonality"}:
        torch.testing.assert_close(masked[part], alone[part], atol=1e-4, rtol=1e-4)
    batch["units"][:] = 9
    assert model.loss(prediction, batch)["total"].isfinite()


@pytest.mark.parametrize("name", SMALL)
def test_frames_without_a_grade_do_not_count(name: str) -> None:
    model = _build(name, "palsy").eval()
    batch = _batch(model)
    with torch.no_grad():
        prediction = model(batch["frames"], batch["landmarks"])
    graded = model.loss(prediction, batch)
    batch["grade"][:] = 9
    masked = model.loss(prediction, batch)
    label = "grade" if "grade" in graded else "label"
    assert graded[label] > 0
    assert masked[label] == 0


@pytest.mark.parametrize("name", SMALL)
def test_side_and_region_heads_answer_and_learn_only_where_labels_are(name: str) -> None:
    model = _build(name, "palsy", side_head=True, region_head=True)
    batch = _batch(model)
    prediction = model(batch["frames"], batch["landmarks"])
    torch.testing.assert_close(prediction.side.sum(dim=1), torch.ones(4))
    assert prediction.regions.shape == (4, 12)
    assert not {"side", "regions"} & set(model.loss(prediction, batch))
    batch |= {"side": torch.tensor([0, 1, 2, 9]), "regions": torch.full((4, 12), 9.0)}
    losses = model.loss(prediction, batch)
    assert losses["side"] > 0
    assert losses["regions"] == 0


@pytest.mark.parametrize("name", SMALL)
def test_palsy_heads_are_refused_for_units(name: str) -> None:
    with pytest.raises(ValueError, match="belong to task palsy"):
        _build(name, "au", side_head=True)


@pytest.mark.parametrize("name", ["resnet18", "medt", "mgrrnet"])
@torch.no_grad()
def test_rare_grades_weigh_more(name: str) -> None:
    model = _build(name, "palsy").eval()
    batch = _batch(model)
    prediction = model(batch["frames"], batch["landmarks"])
    batch["grade"][:] = 3
    before = model.loss(prediction, batch)
    model.use_statistics(_statistics())
    after = model.loss(prediction, batch)
    label = "grade" if "grade" in before else "label"
    # 1 / rate is 2.5, 10/3, 5, 10: the weights sum to 4.
    torch.testing.assert_close(after[label] / before[label], torch.tensor(40 / (62.5 / 3)))
