"""Weights of one network into another: each unit's share keeps its meaning."""

import pytest
import torch

from aufleet_models import build_model
from aufleet_models.catalog import CATALOG
from aufleet_models.contract import FaceModel
from aufleet_models.transfer import Selection, Transfer, transfer_weights, unit_layout

REGION_NETWORKS = ("jaanet", "lgrnet", "algrnet", "mgrrnet")
SOURCE, TARGET = [1, 2, 4, 6, 7, 12, 17, 23], [26, 12, 9, 1, 25, 6]
MAP = {25: 23, 26: 17}
SMALL = {
    "medt": {"input_size": 32, "zero_start": False},
    "lpnet": {"input_size": 64, "num_points": 49},
}


def _build(name: str, units: list[int], *, seed: int = 0, **options) -> FaceModel:
    torch.manual_seed(seed)
    model = build_model(
        name, task="au", units=units, width=0.0625, **SMALL.get(name, {}), **options
    )
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return model


OPTIONS = [
    (name, options)
    for name, entry in CATALOG.items()
    for options in ({}, {"fusion": False}, {"offsets": "free"}, {"skip_gate": "scalar"})
    if options.keys() <= entry.options.__dataclass_fields__.keys()
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_every_tensor_that_depends_on_the_number_of_units_is_in_the_table(name, options) -> None:
    with torch.device("meta"):
        few, more = (build_model(name, task="au", units=u, **options) for u in (TARGET[:3], TARGET))
    counts = {one for one, _ in few.named_buffers() if "running" not in one}
    shapes = [
        {key: tensor.shape for key, tensor in one.state_dict().items() if key not in counts}
        for one in (few, more)
    ]
    assert {key for key in shapes[0] if shapes[0][key] != shapes[1][key]} == {
        key for key in shapes[0] if unit_layout(key)
    }


def transfer(target: FaceModel, weights, *, source: FaceModel | None = None, **wanted) -> Transfer:
    return transfer_weights(target, weights, source=source, selection=Selection(**wanted))


@pytest.mark.parametrize("name", CATALOG)
@pytest.mark.parametrize("order", [SOURCE, SOURCE[::-1]])
def test_a_network_of_the_same_units_answers_like_its_source(name, order, face) -> None:
    source, target = _build(name, SOURCE).eval(), _build(name, order, seed=1).eval()
    done = transfer(target, source.state_dict(), source=source)
    assert (done.partly, done.fresh) == ((), ())
    assert done.units == {unit: unit for unit in order}
    frames = torch.randn(2, 3, source.frame_size, source.frame_size)
    points = face.expand(2, -1, -1)
    with torch.no_grad():
        expected, found = source(frames, points).logits, target(frames, points).logits
    torch.testing.assert_close(
        found, expected[:, [SOURCE.index(unit) for unit in order]], atol=2e-5, rtol=1e-4
    )


@pytest.mark.parametrize("name", REGION_NETWORKS)
def test_branches_of_other_units_see_what_their_source_sees(name) -> None:
    """DISFA from BP4D as the papers do it; without a layer in which units meet."""
    apart = {"algrnet": {"skip_bilstm": "none"}, "lgrnet": {"skip_bilstm": "none"}}
    apart["mgrrnet"] = {"region_graph": "none"}
    options = apart.get(name, {})
    source, target = (
        _build(name, u, seed=s, **options).eval() for s, u in ((0, SOURCE), (1, TARGET))
    )
    done = transfer(target, source.state_dict(), source=source, fresh=["readout"], units=MAP)
    assert done.units == {26: 17, 12: 12, 1: 1, 25: 23, 6: 6}
    assert "readout" in done.fresh
    seen = _seen_by_branch(source), _seen_by_branch(target)
    for unit, other in done.units.items():
        torch.testing.assert_close(seen[1][unit], seen[0][other], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(seen[1][9], seen[0][1], atol=1e-3)


def _seen_by_branch(model: FaceModel) -> dict[int, torch.Tensor]:
    """Return unit -> its refined region, with the same map for every unit."""
    torch.manual_seed(5)
    feature, drawn = torch.randn(1, model.stem.out_channels, 44, 44), torch.rand(1, 1, 52, 52)
    num = len(model.order)
    maps = drawn[..., 4:48, 4:48].expand(1, num, 44, 44)
    with torch.no_grad():
        if getattr(model, "refinement", None) is not None:
            maps = model.refinement(drawn.expand(1, num, 52, 52))
        regions = feature * maps.transpose(0, 1).unsqueeze(2)
        if getattr(model, "fusion", None) is not None:
            regions = model.fusion(regions, model.overview(feature))
        for layer in getattr(model, "layers", ()):
            regions = layer(regions, feature)
        branches = (model.local if hasattr(model, "local") else model.refining).branches(regions)
    return {model.config["units"][place]: branches[k] for k, place in enumerate(model.order)}


def test_gates_of_both_directions_follow_their_unit() -> None:
    source, target = _build("algrnet", SOURCE), _build("algrnet", TARGET, seed=1)
    transfer(target, source.state_dict(), source=source, parts=["lstm"], units=MAP)
    rows = [[model.config["units"][k] for k in model.order] for model in (source, target)]
    for unit, other in ((12, 12), (25, 23)):
        here, there = rows[1].index(unit), rows[0].index(other)
        ours, theirs = target.lstm.skips.weight, source.lstm.skips.weight
        assert torch.equal(ours[0, here], theirs[0, there])
        assert torch.equal(ours[1, len(TARGET) - 1 - here], theirs[1, len(SOURCE) - 1 - there])


def test_relations_are_copied_between_units_that_both_have_a_source() -> None:
    source, target = _build("mgrrnet", SOURCE), _build("mgrrnet", TARGET, seed=1)
    before = target.layers[0].graph.adjacency.detach().clone()
    transfer(target, source.state_dict(), source=source, parts=["layers"], units=MAP)
    ours, theirs = target.layers[0].graph.adjacency, source.layers[0].graph.adjacency
    at, of = TARGET.index, SOURCE.index
    assert ours[at(25), at(12)] == theirs[of(23), of(12)]
    assert torch.equal(ours[at(9)], before[at(9)])


def test_counts_of_the_training_part_stay() -> None:
    source, target = _build("mgrrnet", SOURCE), _build("mgrrnet", SOURCE, seed=1)
    source.balance.fill_(3.0)
    source.mean_shape.fill_(7.0)
    transfer(target, source.state_dict(), source=source)
    assert torch.equal(target.balance, torch.ones(8))
    assert not target.mean_shape.any()


def test_a_unit_can_be_left_fresh() -> None:
    source, target = _build("lpnet", SOURCE), _build("lpnet", SOURCE, seed=1)
    before = target.local.weight_answer.detach().clone()
    done = transfer(target, source.state_dict(), source=source, units={12: None})
    place = SOURCE.index(12)
    assert 12 not in done.units
    assert set(done.partly) == {"local", "person.shifts"}
    assert torch.equal(target.local.weight_answer[place], before[place])
    assert torch.equal(target.local.weight_answer[0], source.local.weight_answer[0])


def _public_resnet(depth_like: FaceModel) -> dict[str, torch.Tensor]:
    """Return the state of a trunk under its public names, with a classifier behind it."""
    state = {k: torch.randn(v.shape).to(v.dtype) for k, v in depth_like.stem.state_dict().items()}
    return state | {"fc.weight": torch.randn(1000, 32), "fc.bias": torch.randn(1000)}


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_a_public_resnet_fits_the_stem(depth: int) -> None:
    model = _build("lpnet", TARGET, stem=depth)
    state = _public_resnet(model)
    state.pop("bn1.num_batches_tracked")  # conversions often drop it
    done = transfer(model, state, into="stem")
    assert done.copied == ("stem",)
    assert done.unused == ("stem.fc",)
    assert set(done.fresh) == {"local", "person"}
    for name, value in state.items():
        if not name.startswith("fc"):
            assert torch.equal(model.stem.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"parts": ["stemm"]}, "no part 'stemm': did you mean 'stem'"),
        ({"parts": ["readout.locl"]}, "did you mean 'readout.local'"),
        ({"fresh": ["head"]}, "no part 'head'"),
        ({"parts": ["adaptive"]}, "it holds no adaptive.offset.0.weight"),
        ({"units": {3: 1}}, "units names 3, which the network does not detect"),
        ({"units": {1: 26}}, "units names 26, which its source does not detect"),
        ({"parts": ["stem", "refining"], "units": dict.fromkeys(SOURCE)}, "no unit of refining"),
    ],
)
def test_what_cannot_be_copied_is_said(given, sentence) -> None:
    source, target = _build("algrnet", SOURCE, adaptive=False), _build("algrnet", SOURCE)
    with pytest.raises(ValueError, match=sentence):
        transfer(target, source.state_dict(), source=source, **given)


def test_a_named_part_of_another_width_is_an_error_and_copies_nothing() -> None:
    target = _build("algrnet", SOURCE)
    with torch.device("meta"):
        source = build_model("algrnet", task="au", units=SOURCE, width=0.125)
    before = {name: one.clone() for name, one in target.state_dict().items()}
    weights = {name: torch.zeros(one.shape) for name, one in source.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"has shape 8 x 4 x 3 x 3 there .* \(\d+ more like this\)"
    ):
        transfer(target, weights, source=source, parts=["alignment", "stem"])
    assert all(torch.equal(one, before[name]) for name, one in target.state_dict().items())


def test_weights_of_units_are_not_taken_from_a_file_that_does_not_name_them() -> None:
    source, target = _build("algrnet", SOURCE), _build("algrnet", SOURCE, seed=1)
    done = transfer(target, source.state_dict())
    assert {"refining", "fusion"} <= {name.partition(".")[0] for name in done.fresh}
    assert "stem" in done.copied
    with pytest.raises(ValueError, match=r"belongs to units, and the file does not say to which"):
        transfer(target, source.state_dict(), parts=["refining"])
    with pytest.raises(ValueError, match="a map of units needs a source that says its units"):
        transfer(target, source.state_dict(), units={1: 2})


def test_a_palsy_network_takes_a_palsy_network_whole_and_of_units_what_is_shared() -> None:
    torch.manual_seed(0)
    first, second = (build_model("algrnet", task="palsy", width=0.0625) for _ in range(2))
    assert transfer(second, first.state_dict(), source=first).fresh == ()
    units = _build("algrnet", SOURCE)
    done = transfer(second, units.state_dict(), source=units)
    assert "stem" in done.copied
    assert {"refining", "readout"} <= {name.partition(".")[0] for name in done.fresh}
    assert done.units == {}
