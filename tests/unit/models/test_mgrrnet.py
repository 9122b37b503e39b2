import pytest
import torch
from torch import Tensor
from torch.nn import functional

from aufleet_models import TrainingStatistics, build_model
from aufleet_models.layers.graph import (
    GlobalLevel,
    RegionGraph,
    TokenAttention,
    neighbour_adjacency,
    prior_adjacency,
    random_adjacency,
    uniform_adjacency,
)
from aufleet_models.mgrrnet import MGRRNet, ReasoningLayer

BP4D = [1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24]
DISFA = [1, 2, 4, 6, 9, 12, 25, 26]
UNITS = [1, 4, 12]


def _small(task: str = "au", **options: object) -> MGRRNet:
    torch.manual_seed(0)
    units = UNITS if task == "au" else None
    model = build_model("mgrrnet", task=task, units=units, width=0.125, **options)
    assert isinstance(model, MGRRNet)
    return model


def _graphs(model: MGRRNet) -> list[RegionGraph]:
    return [module for module in model.modules() if isinstance(module, RegionGraph)]


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("units", "options", "count"),
    [
        (BP4D, {}, 26_834_458),
        (DISFA, {}, 22_385_770),
        (BP4D, {"layers": 0}, 21_470_386),
        (BP4D, {"channel_stride": 1}, 26_834_458 + 2 * (7_934_864 - 2_059_876)),
    ],
)
def test_parameter_counts(units: list[int], options: dict[str, int], count: int) -> None:
    with torch.device("meta"):
        assert _count(build_model("mgrrnet", task="au", units=units, **options)) == count


@pytest.mark.parametrize(
    ("units", "graph", "fusions"), [(BP4D, 50_064, 232_960), (DISFA, 33_344, 166_400)]
)
def test_parameter_counts_of_a_layer(units: list[int], graph: int, fusions: int) -> None:
    with torch.device("meta"):
        model = build_model("mgrrnet", task="au", units=units)
    assert isinstance(model, MGRRNet)
    layer = model.layers[0]
    assert isinstance(layer, ReasoningLayer)
    assert _count(layer.graph) == graph
    assert [_count(level) for level in layer.levels] == [2_059_876, 339_136, 0]
    assert layer.region_fusion is not None
    assert _count(layer.level_fusions) + _count(layer.region_fusion) == fusions


def _agreement(labels: Tensor) -> Tensor:
    """P of the contract, counted one pair at a time without frames that lack a label."""
    num = labels.shape[1]
    agreement = torch.full((num, num), float("nan"), dtype=torch.float64)
    for i in range(num):
        for j in range(num):
            coded = (labels[:, i] != 9) & (labels[:, j] != 9)
            first, second = labels[coded, i], labels[coded, j]
            active = (first[second == 1] == 1).double().mean()
            absent = (first[second == 0] == 0).double().mean()
            agreement[i, j] = (active + absent) / 2
    return agreement


def test_the_prior_is_the_covariance_over_the_variance() -> None:
    torch.manual_seed(0)
    rates = torch.linspace(0.1, 0.8, 6)
    cause = torch.rand(2000, 1)
    labels = (0.5 * cause + 0.5 * torch.rand(2000, 6) < rates).long()
    adjacency = prior_adjacency(_agreement(labels), diagonal=True)
    centred = labels.double() - labels.double().mean(dim=0)
    covariance = centred.T @ centred / len(labels)
    torch.testing.assert_close(adjacency, (covariance / covariance.diagonal()).abs())

    variance = covariance.diagonal()
    torch.testing.assert_close(adjacency * variance, (adjacency * variance).T)
    assert adjacency.min() >= 0
    assert adjacency.max() <= 1 + 1e-12
    torch.testing.assert_close(adjacency.diagonal(), torch.ones(6, dtype=torch.float64))
    assert not torch.allclose(adjacency, adjacency.T)


def test_the_prior_leaves_labels_out_that_are_not_coded() -> None:
    labels = torch.tensor([[1, 1], [0, 0], [1, 0], [9, 1], [0, 9]])
    # Coded pairs: (1, 1), (0, 0), (1, 0): P(a0=1|a1=1) = 1, P(a0=0|a1=0) = 1/2.
    assert prior_adjacency(_agreement(labels))[0, 1] == 0.5
    never = torch.tensor([[1, 9], [0, 9]])
    assert prior_adjacency(_agreement(never)).tolist() == [[0, 0], [0, 0]]


def test_units_start_from_the_prior_without_its_diagonal() -> None:
    agreement = torch.rand(3, 3)
    model, with_diagonal = _small(), _small(graph_diagonal=True)
    for network in (model, with_diagonal):
        network.use_statistics(TrainingStatistics(agreement=agreement))
    expected = (2 * agreement - 1).abs()
    assert len(_graphs(model)) == 2
    for graph in _graphs(with_diagonal):
        torch.testing.assert_close(graph.adjacency.data, expected)
    for graph in _graphs(model):
        torch.testing.assert_close(graph.adjacency.data, expected.fill_diagonal_(0))
    first, second = _graphs(model)
    assert first.adjacency.data_ptr() != second.adjacency.data_ptr()


def test_palsy_starts_from_a_uniform_graph_or_from_neighbours() -> None:
    assert torch.equal(_graphs(_small("palsy"))[0].adjacency.data, uniform_adjacency(12))
    neighbours = _graphs(_small("palsy", graph_init="adjacency"))[0].adjacency.data
    assert torch.equal(neighbours, neighbour_adjacency(12))
    # The left upper lid (2) touches its partner (3), the brow above (0) and the ala below (4).
    assert neighbours[2].nonzero().flatten().tolist() == [0, 3, 4]


@pytest.mark.parametrize("make", [uniform_adjacency, neighbour_adjacency, random_adjacency])
def test_rows_of_a_graph_without_a_prior_sum_to_one(make: object) -> None:
    adjacency = make(12)
    torch.testing.assert_close(adjacency.sum(dim=1), torch.ones(12))
    assert adjacency.diagonal().count_nonzero() == 0
    assert make(1).tolist() == [[0]]


def test_graphs_that_the_task_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="graph_init is prior"):
        _small("palsy", graph_init="prior")
    with pytest.raises(ValueError, match="graph_init is adjacency"):
        _small(graph_init="adjacency")


@torch.no_grad()
def test_the_region_graph_equals_its_formula() -> None:
    graph = RegionGraph(3, channels=5)
    graph.adjacency.uniform_(-1, 1)
    regions = torch.randn(3, 2, 5, 4, 4)
    own = [
        functional.conv2d(
            regions[j], graph.project.weight[j].T[..., None, None], graph.project.bias[j, 0]
        )
        for j in range(3)
    ]
    expected = torch.stack(
        [own[i] + sum(graph.adjacency[i, j] * own[j] for j in range(3)) for i in range(3)]
    )
    torch.testing.assert_close(graph(regions), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_attention_equals_its_formula() -> None:
    attention = TokenAttention(6, head_size=4).double()
    tokens = torch.randn(2, 5, 6, dtype=torch.float64)
    heads = []
    for head in range(8):
        part = slice(4 * head, 4 * head + 4)
        queries, keys, values = (
            layer(tokens)[..., part]
            for layer in (attention.queries, attention.keys, attention.values)
        )
        weights = (queries @ keys.transpose(1, 2) / 2).softmax(dim=-1)
        heads.append(weights @ values)
    expected = attention.merge(torch.cat(heads, dim=-1)).relu()
    torch.testing.assert_close(attention(tokens), expected)


@pytest.mark.parametrize(("kind", "token_size"), [("channel", 16), ("pixel", 6)])
def test_levels_differ_in_what_a_token_is(kind: str, token_size: int) -> None:
    level = GlobalLevel(kind, channels=6, size=8, stride=2, head_size=4)
    assert level.attention.queries.in_features == token_size
    assert level(torch.randn(2, 6, 8, 8)).shape == (2, 6, 8, 8)


@pytest.mark.parametrize(
    "levels",
    [[], ["original"], ["channel", "pixel"], ["original", "channel"], ["original", "pixel"]],
)
@torch.no_grad()
def test_every_row_of_the_ablation_runs(levels: list[str]) -> None:
    model = _small(global_levels=levels, layers=1).eval()
    layer = model.layers[0]
    assert isinstance(layer, ReasoningLayer)
    assert len(layer.levels) == len(levels)
    assert len(layer.level_fusions) == max(0, len(levels) - 1)
    assert model(torch.zeros(1, 3, 176, 176)).logits.shape == (1, 3)


@pytest.mark.parametrize("options", [{"layers": 0}, {"layers": 3}, {"region_graph": "none"}])
@torch.no_grad()
def test_layers_and_graph_can_be_taken_away(options: dict[str, object]) -> None:
    model = _small(**options).eval()
    assert len(_graphs(model)) == (0 if "region_graph" in options else options["layers"])
    assert model(torch.zeros(1, 3, 176, 176)).logits.shape == (1, 3)


def test_a_fixed_graph_does_not_learn() -> None:
    model = _small(region_graph="fixed")
    assert not any(graph.adjacency.requires_grad for graph in _graphs(model))
    model.use_statistics(TrainingStatistics(agreement=torch.ones(3, 3)))
    assert _graphs(model)[0].adjacency.data.sum() == 6


@torch.no_grad()
def test_padding_as_printed_makes_larger_maps_and_ends_at_five_pixels() -> None:
    model = _small(map_pad=1).eval()
    seen = []
    model.refining.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    layer = model.layers[1]
    layer.register_forward_hook(lambda _, args, result: seen.append(result.shape))
    description = model.describe(torch.zeros(1, 3, 176, 176))
    assert (3, 1, 8, 46, 46) in seen
    assert description.regions.shape[-2:] == (5, 5)


def test_the_loss_has_no_dice_term_and_the_answer_is_the_mean_of_both_heads() -> None:
    model = _small().eval()
    with torch.no_grad():
        prediction = model(torch.rand(2, 3, 176, 176))
    local, integrated = (prediction.heads[name].sigmoid() for name in ("local", "integrated"))
    torch.testing.assert_close(prediction.probabilities, (local + integrated) / 2)
    landmarks = torch.rand(2, 49, 2) * 100
    batch = {"units": torch.tensor([[1, 0, 1], [0, 0, 1]]), "landmarks": landmarks}
    losses = model.loss(prediction, batch)
    for name in ("local", "integrated"):
        expected = functional.binary_cross_entropy_with_logits(
            prediction.heads[name], batch["units"].float()
        )
        torch.testing.assert_close(losses[name], expected)
    total = losses["local"] + losses["integrated"] + 0.5 * losses["alignment"]
    torch.testing.assert_close(losses["total"], total)


def test_unknown_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="global_levels names 'pixels'"):
        _small(global_levels=["pixels"])


@torch.no_grad()
def test_a_checkpoint_keeps_the_prior_beside_what_was_learned() -> None:
    trained, restored = _small(), _small()
    agreement = torch.rand(3, 3)
    trained.use_statistics(TrainingStatistics(agreement=agreement))
    for number, graph in enumerate(_graphs(trained), start=1):
        graph.adjacency.add_(number)
    restored.load_state_dict(trained.state_dict())
    prior = prior_adjacency(agreement)
    torch.testing.assert_close(restored.prior, prior)
    torch.testing.assert_close(restored.relations(), torch.stack([prior + 1, prior + 2]))
    assert "prior" not in dict(restored.named_parameters())


def test_a_network_without_graphs_has_no_relations() -> None:
    assert _small(region_graph="none").relations().shape == (0, 3, 3)
