"""`aufleet evaluate`: any model on any data set, by itself and through a running service."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from painted import publish_painted
from served import publish_champion, running_service
from typer.testing import CliRunner

from aufleet.cli.main import app
from aufleet.errors import ConfigError, RegistryError
from aufleet.registry import Versions
from aufleet.registry.card import DatasetReference
from aufleet.registry.gates import Gates
from aufleet.storage import Store, open_store
from aufleet.training import TrialConfig, run_trial
from aufleet.training.checkpoints import MODEL, read_checkpoint, read_tensors
from aufleet.tuning.gating import what_speaks_against
from aufleet_models import build_model


@dataclass(frozen=True, kw_only=True)
class Models:
    """Two trials of fold 2 on one data set, promoted, and data sets with other people."""

    home: Path
    root: Store
    trained_on: str
    others: str
    checkpoints: dict[str, str]
    packages: dict[str, str]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    home = tmp_path_factory.mktemp("evaluate")
    root = open_store(str(home / "root"))
    trained_on = publish_painted(root)
    others = publish_painted(root, name="others", prefix="P", subjects=6, units=(25, 12, 1))
    registry = Versions(f"sqlite:///{home / 'mlflow.db'}")
    checkpoints, packages = {}, {}
    for task in ("au", "palsy"):
        settings = {"model": "resnet18", "width": 0.0625, "fold": 2, "epochs": 8, "batch": 8}
        config = TrialConfig.from_settings(
            settings | {"dataset": trained_on, "learning_rate": 0.05, "task": task}
        )
        store = open_store(str(home / task))
        key = run_trial(config, store=store, report=bool).checkpoint
        checkpoints[task] = store.uri_of(key)
        packages[task] = _promote(config, store, key, root=root, registry=registry)
    return Models(
        home=home,
        root=root,
        trained_on=trained_on,
        others=others,
        checkpoints=checkpoints,
        packages=packages,
    )


def _promote(config: TrialConfig, store: Store, key: str, *, root: Store, registry) -> str:
    checkpoint = read_checkpoint(store, key)
    facts = {"thresholds": {"AU1": 0.3, "AU12": 0.5}} if config.task == "au" else {}
    return publish_champion(
        f"painted-{config.task}",
        read_tensors(store, checkpoint, MODEL),
        checkpoint.network,
        member="fold2",
        task=config.task,
        temperature=1.5,
        dataset=DatasetReference(uri=config.dataset, manifest_sha256="0" * 64),
        root=root,
        registry=registry,
        **facts,
    )


def _evaluate(models: Models, *arguments: str) -> dict:
    environment = {"AUFLEET_HOME": str(models.home), "AUFLEET_ROOT": models.root.uri}
    result = CliRunner().invoke(app, ["evaluate", *arguments, "--json"], env=environment)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout)


def test_a_package_is_scored_on_the_units_in_common(models: Models) -> None:
    found = _evaluate(models, models.packages["au"], models.others)
    assert set(found["units"]) == {"AU1", "AU12"}
    assert found["units_only_in_dataset"] == ["AU25"]
    assert found["units_only_in_model"] == found["subjects_left_out"] == []
    assert (found["subjects"], found["frames"]) == (6, 54)
    assert set(found["parts"]) == {"1", "2", "3"}
    assert found["macro_f1"] == pytest.approx(sum(found["parts"].values()) / 3)
    assert found["pooled_f1"] > found["constant_baseline"] + 0.1
    unit = found["units"]["AU1"]
    assert unit["threshold"] == 0.3
    assert 0.5 < unit["auc"] <= 1
    assert 0.5 < unit["accuracy"] <= 1
    assert unit["constant"] == pytest.approx(2 * (4 / 9) / (1 + 4 / 9))  # frames 1, 3, 5 and 7


def test_a_registered_model_and_a_checkpoint_are_scored_alike(models: Models) -> None:
    named = _evaluate(models, "painted-palsy@champion", models.others)
    assert named["version"] == "1"
    assert set(named["grades"]) == {"normal", "low", "medium", "high"}
    assert -1 <= named["kappa"] <= 1
    assert sum(map(sum, named["confusion"])) == 54
    bare = _evaluate(models, models.checkpoints["palsy"], models.others)
    # Temperature moves probabilities, never the order of grades.
    assert bare["grades"]["low"]["f1"] == named["grades"]["low"]["f1"]


def test_two_versions_are_judged_on_people_that_neither_knows(models: Models) -> None:
    registry = Versions(f"sqlite:///{models.home / 'mlflow.db'}")
    trained = registry.resolve("painted-au")
    torch.manual_seed(0)
    untrained = build_model("resnet18", task="au", units=(1, 12), width=0.0625)
    publish_champion(
        "blank",
        untrained.state_dict(),
        untrained.config,
        root=models.root,
        registry=registry,
        task="au",
        dataset=DatasetReference(uri=models.trained_on, manifest_sha256="0" * 64),
    )
    blank = registry.resolve("blank")
    gates = Gates(max_ms=0.001)
    against = what_speaks_against(blank, champion=trained, gates=gates, evaluate_on=models.others)
    assert any("the champion's" in sentence for sentence in against)
    assert "at most 0.001 are allowed" in " ".join(against)
    better = {"champion": blank, "gates": Gates(max_ms=60_000)}
    assert what_speaks_against(trained, **better, evaluate_on=models.others) == []
    with pytest.raises(RegistryError, match="was scored on other data"):
        what_speaks_against(trained, **better)
    with pytest.raises(RegistryError, match="holds nobody whom neither version knows"):
        what_speaks_against(trained, **better, evaluate_on=models.trained_on)


def test_people_that_a_model_knows_are_refused_and_can_be_left_out(models: Models) -> None:
    with pytest.raises(ConfigError, match=r"5 subjects \(.*were seen in the training.*--unseen"):
        _evaluate(models, models.packages["au"], models.trained_on)
    found = _evaluate(models, models.packages["au"], models.trained_on, "--unseen")
    assert (found["subjects"], len(found["subjects_left_out"])) == (2, 5)
    assert list(found["parts"]) == ["2"]


def test_a_checkpoint_is_not_scored_on_its_own_test_part(models: Models) -> None:
    with pytest.raises(ConfigError, match=r"are the test part of the trial .*scores it once"):
        _evaluate(models, models.checkpoints["au"], models.trained_on, "--unseen")


def test_a_data_set_without_its_units_is_named(models: Models, tmp_path: Path) -> None:
    strangers = publish_painted(open_store(str(tmp_path)), name="strangers", units=(1, 12, 25))
    trial = TrialConfig.from_settings(
        {"model": "resnet18", "width": 0.0625, "fold": 1, "epochs": 1, "units": [25]}
        | {"dataset": strangers}
    )
    store = open_store(str(tmp_path / "trial"))
    run_trial(trial, store=store, report=bool)
    with pytest.raises(ConfigError, match=r"knows AU25, .* codes AU1, AU12: they have no unit in"):
        _evaluate(models, store.uri, models.trained_on)


def test_a_folder_without_a_model_says_what_is_taken(models: Models) -> None:
    with pytest.raises(ConfigError, match=r"there is no model at .*: name a registered model, or"):
        _evaluate(models, str(models.home / "nothing"), models.others)
    with pytest.raises(ConfigError, match="a service knows models by NAME"):
        _evaluate(models, models.packages["au"], models.others, "--through", "serving")


@pytest.mark.ray
def test_a_service_scores_as_the_model_does_by_itself(models: Models) -> None:
    with running_service(
        models.home, "painted-au", "painted-palsy", root=models.root, options=("--spares", "0")
    ):
        for name in ("painted-au", "painted-palsy"):
            alone = _evaluate(models, name, models.others)
            served = _evaluate(models, name, models.others, "--through", "serving")
            assert served["through"] == "serving"
            for key in ("macro_f1", "pooled_f1", "accuracy"):
                assert served[key] == pytest.approx(alone[key], abs=0.005)
            assert served["frames"] == alone["frames"]
