"""`aufleet train` of every network of the catalog, for both tasks, on synthetic faces."""

import json
import math

import pytest
from typer.testing import CliRunner

from aufleet.cli.main import app
from aufleet.data.publish import DatasetSpec, publish_dataset
from aufleet.data.synthetic import SyntheticSettings, render_subjects
from aufleet.storage import open_store
from aufleet_models import list_models

pytestmark = pytest.mark.slow

UNITS = (1, 2, 12, 25)
SMALL = {
    "algrnet": {"width": 0.125},
    "lgrnet": {"width": 0.125},
    "jaanet": {"width": 0.125},
    "mgrrnet": {"width": 0.125},
    "lpnet": {"width": 0.0625, "stem": 18, "input_size": 64},
    "resnet18": {"width": 0.0625},
    "resnet50": {"width": 0.0625},
    "medt": {"width": 0.125, "input_size": 32},
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Task -> URI of six people, healthy or with a palsy."""
    root = open_store(str(tmp_path_factory.mktemp("networks")))
    for task in ("au", "palsy"):
        settings = SyntheticSettings(
            num_subjects=6, frames_per_subject=8, units=UNITS, palsy=task == "palsy"
        )
        spec = DatasetSpec(name=task, version="1", units=UNITS, source="test", seed=0)
        publish_dataset(render_subjects(settings), spec=spec, store=root)
    return {task: root.uri_of(f"datasets/{task}/1") for task in ("au", "palsy")}


@pytest.mark.parametrize("task", ["au", "palsy"])
@pytest.mark.parametrize("model", list_models())
def test_a_network_trains_by_the_verb(
    model: str, task: str, datasets: dict[str, str], tmp_path
) -> None:
    sets = {"batch": 8, "learning_rate": 0.001, **SMALL[model]}
    arguments = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    arguments += ["--epochs", "1", "--out", str(tmp_path), "--json"]
    what = ("--dataset", datasets[task], "--model", model, "--task", task)
    result = CliRunner().invoke(app, ["train", *what, *arguments])
    assert result.exit_code == 0, result.exception
    found = json.loads(result.stdout)
    (epoch,) = found["epochs"]
    assert math.isfinite(epoch["train_loss"])
    assert math.isfinite(epoch["loss"])
    labels = {"normal", "low", "medium", "high"}
    assert set(found["per_label"]) == (labels if task == "palsy" else {f"AU{u}" for u in UNITS})
    assert (epoch["kappa"] is None) == (epoch["confusion"] is None) == (task == "au")
    store = open_store(found["store"])
    assert store.exists(f"{found['checkpoint']}/model.safetensors")
