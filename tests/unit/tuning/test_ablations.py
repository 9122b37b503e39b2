"""The papers' ablation tables that come with the package."""

from pathlib import Path

import pytest
import torch

import aufleet.tuning
from aufleet.domain.action_units import BP4D_UNITS, DISFA_UNITS
from aufleet.tuning.experiment import Experiment, read_experiment
from aufleet.tuning.grid import configuration_of
from aufleet.tuning.plan import plan_of
from aufleet_models import build_model

FOLDER = Path(aufleet.tuning.__file__).parent / "experiments" / "ablations"
FILES = sorted(FOLDER.glob("*.yaml"))
AFRESH = {"initialize_from": None}
EXTRACTOR = 813_312
"""The specification counts an extractor of the global feature also where nothing reads it."""
LAYER = {"bp4d": 50_064 + 2_059_876 + 339_136 + 232_960, "disfa": 33_344 + 2_059_876 + 339_136}
LAYER["disfa"] += 166_400
MGRR = {"bp4d": 26_834_458, "disfa": 22_385_770}
CHANNEL, PIXEL, SHARED = 2 * 2_059_876, 2 * 339_136, 2 * 16_640
COUNTS = {
    "algrnet-bp4d": {
        "without-all": 22_283_698 - EXTRACTOR,
        "without-fusion": 22_973_874 - EXTRACTOR,
        "without-skip-bilstm": 22_630_834,
        "plain-bilstm": 23_321_010 - 99_840,
        "without-adaptive": 23_321_010,
        "lgrnet": 19_212_186,
        "full": 27_436_502,
    },
    "algrnet-disfa": {
        "without-all": 18_001_570 - EXTRACTOR,
        "without-fusion": 18_658_466 - EXTRACTOR,
        "without-skip-bilstm": 18_232_994,
        "plain-bilstm": 18_889_890 - 2 * 8 * 4_160,
        "without-adaptive": 18_889_890,
        "lgrnet": 14_785_170,
        "full": 22_999_226,
    },
    **{
        f"mgrrnet-{data}": {
            "baseline": MGRR[data] - 2 * LAYER[data],
            "graph": MGRR[data] - CHANNEL - PIXEL - 2 * 16_640 * (units + 2),
            "graph-random": MGRR[data] - CHANNEL - PIXEL - 2 * 16_640 * (units + 2),
            "graph-original": MGRR[data] - CHANNEL - PIXEL - 2 * SHARED,
            "graph-channel-pixel": MGRR[data] - SHARED,
            "graph-original-channel": MGRR[data] - PIXEL - SHARED,
            "graph-original-pixel": MGRR[data] - CHANNEL - SHARED,
            "one-layer": MGRR[data] - LAYER[data],
            "full": MGRR[data],
            "three-layers": MGRR[data] + LAYER[data],
        }
        for data, units in (("bp4d", 12), ("disfa", 8))
    },
    "jaanet-bp4d": {
        "conference": 22_162_854,
        "journal": 25_237_182,
        "without-refinement": 25_237_182 - 905_484,
        "parity": 25_237_182,
    },
    "jaanet-disfa": {
        "conference": 18_603_674,
        "journal": 20_653_226,
        "without-refinement": 20_653_226 - 603_656,
        "parity": 20_653_226,
    },
    "lpnet-bp4d": {
        # The trunk and one number per unit and feature, with a bias.
        "resnet34": 21_284_672 + 12 * 513,
        "augmented": 21_284_672 + 12 * 513,
        "p-net": 21_284_672 + 12 * 513 + 172_812,
        "l-net": 25_403_480 - 172_812,
        "lp-net": 25_403_480,
        "lp-net-scratch": 25_403_480,
    },
    "lpnet-disfa": {"lp-net": 24_086_096, "lp-net-scratch": 24_086_096},
    "palsy-baselines": {
        "resnet18": 11_178_564,
        "resnet50": 23_516_228,
        "transformer": 350_132,
    },
}


def _read(name: str, **changes) -> Experiment:
    return read_experiment(FOLDER / f"{name}.yaml", changes=changes)


def _parameters(experiment: Experiment, row: str, *, root) -> int:
    place = experiment.rows[row]
    configuration = configuration_of(
        experiment.model_copy(update={"fixed": experiment.fixed | AFRESH}),
        root=root,
        model=place.model or experiment.models[0],
        point=place.settings | AFRESH,
        index=0,
    )
    trial = configuration.trials[0]
    units = BP4D_UNITS if "bp4d" in experiment.name else DISFA_UNITS
    with torch.device("meta"):
        network = build_model(
            trial.model,
            task=trial.task,
            units=units if trial.task == "au" else None,
            width=trial.width,
            **trial.options,
        )
    return sum(one.numel() for one in network.parameters())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_table_is_named_as_its_command_and_every_row_builds_its_network(file, root) -> None:
    experiment = read_experiment(file)
    assert experiment.name == f"ablation-{file.stem}"
    assert file.read_text().splitlines()[0] == f"# aufleet tune ablation:{file.stem}"
    assert experiment.paper
    found = {
        name: _parameters(experiment, name, root=root)
        for name, row in experiment.rows.items()
        if not row.left_out
    }
    assert {name: found[name] for name in COUNTS[file.stem]} == COUNTS[file.stem]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_published_numbers_are_their_own_mean(file) -> None:
    """Each printed mean is that of its columns, but for the two that the paper itself got wrong."""
    wrong = {("palsy-baselines", "jaanet"): 74.0, ("palsy-baselines", "algrnet"): 75.3}
    for name, row in read_experiment(file).rows.items():
        columns = [value for key, value in row.published.items() if key != "mean"]
        if columns:
            expected = wrong.get((file.stem, name), row.published["mean"])
            assert sum(columns) / len(columns) == pytest.approx(expected, abs=0.06), name


def test_every_packaged_table_is_checked() -> None:
    assert {file.stem for file in FILES} == set(COUNTS)
    assert len(FILES) == 9


def test_rows_that_wait_for_a_person_or_another_table_are_named_with_the_way_out(root) -> None:
    plan = plan_of(_read("lpnet-bp4d"), root=root)
    assert set(plan.rows) == {
        *("resnet18", "resnet34", "resnet50", "selective", "augmented"),
        *("l-net-scratch", "lp-net-scratch"),
    }
    assert plan.left_out["pretrained"] == (
        "it needs vggface2_stem, a ResNet-34 trained on VGGFace2, as a .safetensors file with "
        "torchvision's names: give --set vggface2_stem=URI"
    )
    assert (
        plan.left_out["l-net"] == "it starts from pretrained, which is left out or no row above it"
    )
    assert "which regions" in plan.left_out["facs-regions"]
    given = plan_of(_read("lpnet-bp4d", vggface2_stem="s3://b/stem.safetensors"), root=root)
    assert set(given.left_out) == {"facs-regions"}
    assert given.rows.items() >= plan.rows.items()
    waiting = plan_of(_read("algrnet-disfa"), root=root)
    assert waiting.configurations == 0
    assert "run that table first, or give --set initialize_from=null" in waiting.left_out["full"]
    assert plan_of(_read("algrnet-disfa", initialize_from=None), root=root).configurations == 7
