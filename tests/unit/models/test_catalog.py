import pytest
import torch

from aufleet_models import build_model, list_models
from aufleet_models.catalog import CATALOG

BP4D = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
DISFA = (1, 2, 4, 6, 9, 12, 25, 26)

COUNTS = [
    ("jaanet", {}, 25_237_182, 20_653_226),
    ("jaanet", {"local_head": False}, 22_162_854, 18_603_674),
    ("lgrnet", {}, 19_212_186, 14_785_170),
    ("algrnet", {}, 27_436_502, 22_999_226),
    ("algrnet", {"adaptive": False}, 23_321_010, 18_889_890),
    ("algrnet", {"adaptive": False, "skip_bilstm": "none"}, 22_630_834, 18_232_994),
    ("mgrrnet", {}, 26_834_458, 22_385_770),
    ("lpnet", {}, 25_403_480, 24_086_096),
    # The specification counts an extractor of the global feature also where nothing reads it.
    ("algrnet", {"adaptive": False, "fusion": False}, 22_973_874 - 813_312, 18_658_466 - 813_312),
    (
        "algrnet",
        {"adaptive": False, "fusion": False, "skip_bilstm": "none"},
        22_283_698 - 813_312,
        18_001_570 - 813_312,
    ),
]


def _count(name: str, *, task: str = "au", units=BP4D, **options) -> int:
    with torch.device("meta"):
        model = build_model(name, task=task, units=units, **options)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("name", "options", "twelve", "eight"), COUNTS)
def test_parameters_are_as_many_as_published(name, options, twelve, eight) -> None:
    assert _count(name, **options) == twelve
    assert _count(name, units=DISFA, **options) == eight


def test_parts_have_their_published_sizes() -> None:
    with torch.device("meta"):
        model = build_model("algrnet", task="au", units=BP4D)
        palsy = build_model("algrnet", task="palsy")
    sizes = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in (*model.named_children(), ("palsy", palsy.readout))
    }
    assert sizes == {
        "stem": 1_615_392,
        "alignment": 2_912_098,
        "centres": 0,
        "adaptive": 4_115_492,
        "lstm": 2 * 295_168 + 99_840,
        "overview": 813_312,
        "fusion": 347_136,
        "refining": 12 * 813_312,
        "readout": 12 * 256_194 + 4_108_824,
        "palsy": 4_098_564,
    }


@pytest.mark.parametrize("name", CATALOG)
def test_the_configuration_builds_the_same_network_again(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, task="au", units=[12, 1], width=0.25)
        again = build_model(**model.config)
    assert again.config == model.config
    shapes, same = ({k: v.shape for k, v in m.state_dict().items()} for m in (model, again))
    assert shapes == same


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("algrnett", {}, "did you mean 'algrnet'"),
        ("algrnet", {"adaptiv": True}, "did you mean 'adaptive'"),
        ("algrnet", {"skip_bilstm": "twice"}, "choose one of 'none', 'plain', 'skip'"),
        ("algrnet", {"adaptive": "yes"}, "takes bool"),
        ("algrnet", {"map_pad": True}, "choose one of 0, 1"),
        ("algrnet", {"local_head": False, "integrated_head": False}, "keep one"),
        ("algrnet", {"side_head": True}, "belong to task palsy"),
        ("algrnet", {"units": [1, 3]}, "give each of some of 1, 2, 4"),
        ("algrnet", {"units": []}, "needs a list of units"),
        ("algrnet", {"task": "palsy"}, "takes no units"),
        ("algrnet", {"task": "pain"}, "choose one of au, palsy"),
        ("algrnet", {"width": 0}, "positive"),
        (
            "algrnet",
            {"task": "palsy", "units": None, "palsy_regions": [[[99, 0, 0]]]},
            "landmark 0 to 48",
        ),
    ],
)
def test_what_cannot_be_built_is_said(name: str, given: dict, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        build_model(name, **{"task": "au", "units": [1, 12], **given})


def test_every_network_is_listed() -> None:
    assert list_models() == sorted(CATALOG)
    assert {"algrnet", "lgrnet", "jaanet"} <= set(list_models())
