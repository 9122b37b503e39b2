"""The experiment file is strict: each mistake is one sentence that names the file and the key."""

from pathlib import Path

import pytest
import yaml

import aufleet.tuning
from aufleet.errors import ConfigError
from aufleet.tuning.experiment import parse_experiment, read_experiment

GOOD = {
    "name": "demo",
    "task": "au",
    "dataset": "demo/1",
    "models": ["algrnet"],
    "fixed": {"epochs": 3},
    "search": {"learning_rate": {"choice": [0.1, 0.2]}},
}


def parse(**changes):
    return parse_experiment(yaml.safe_dump({**GOOD, **changes}), source="demo.yaml")


def test_a_whole_file_is_read():
    experiment = parse(
        folds=[1, 3],
        fixed={"epochs": 20, "batch": 16, "width": 1.0, "precision": "bf16", "zero_stage": 1},
        search={
            "learning_rate": {"log_uniform": [0.001, 0.1]},
            "weight_decay": {"choice": [0.0005, 0.001]},
            "momentum": {"uniform": [0.8, 0.95]},
        },
        sampler={"kind": "optuna", "configurations": 32, "seed": 0},
        resources={"ranks": 2, "cpus_per_rank": 2, "gpus_per_rank": 1},
        shuffle_labels=True,
    )
    assert experiment.folds == (1, 3)
    assert experiment.search["learning_rate"].log_uniform == (0.001, 0.1)
    assert experiment.resources.ranks == 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"datset": "x"}, "unknown key 'datset': did you mean 'dataset'"),
        ({"sampler": {"knd": "grid"}}, "unknown key 'sampler.knd': did you mean 'kind'"),
        ({"resources": {"cpus": 2}}, "unknown key 'resources.cpus': did you mean 'cpus_per_rank'"),
        ({"search": {"momentum": {"chioce": [1]}}}, "momentum.chioce': did you mean 'choice'"),
        ({"fixed": {"epocs": 3}}, "unknown key 'fixed.epocs': did you mean 'epochs'"),
        ({"search": {"learning_rat": {"choice": [1]}}}, "did you mean 'learning_rate'"),
        ({"fixed": {"fold": 1}}, "fixed.fold is set for the whole experiment"),
        ({"models": ["algrnt"]}, "'algrnt' is not in the catalog"),
        ({"models": ["algrnet", "algrnet"]}, "models holds a value twice"),
        ({"models": []}, "models"),
        ({"folds": [4]}, "there is no fold 4"),
        ({"name": "No Spaces"}, "name"),
        ({"task": "aus"}, "task"),
        ({"fixed": {"learning_rate": 0.1}}, "learning_rate stands under fixed and under search"),
        ({"search": {"momentum": {"uniform": [0.9, 0.8]}}}, "the first bound must be below"),
        ({"search": {"momentum": {}}}, "give exactly one of"),
        ({"search": {"learning_rate": {"log_uniform": [0, 1]}}}, "must be positive"),
        ({"search": {"momentum": {"uniform": [0.8, 0.9]}}}, "a grid needs a choice for momentum"),
        ({"sampler": {"kind": "random"}}, "`configurations` is for random and optuna"),
        ({"early_stopping": {"kind": "asha", "population": 2}}, "population means nothing for"),
        ({"early_stopping": {"grace_epochs": 2}}, "grace_epochs means nothing for kind none"),
        ({"early_stopping": {"knid": "asha"}}, "'early_stopping.knid': did you mean 'kind'"),
        ({"early_stopping": {"kind": "pbt"}}, "pbt draws its first members at random"),
        ({"budget": {"gpuhours": 200}}, "unknown key 'budget.gpuhours': did you mean 'gpu_hours'"),
        ({"budget": {"trials": 0}}, "budget.trials"),
        ({"per_model": {"lgrnet": {"batch": 8}}}, "per_model.lgrnet is not among the models"),
        ({"per_model": {"algrnet": {"bach": 8}}}, "'per_model.algrnet.bach': did you mean 'batch'"),
        ({"resources": {"ranks": 2, "gpus_per_rank": 0.5}}, "a fraction of a GPU is for one rank"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_file_and_key(changes, sentence):
    with pytest.raises(ConfigError) as caught:
        parse(**changes)
    text = str(caught.value)
    assert text.startswith("demo.yaml")
    assert sentence in text
    assert "\n" not in text


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "name: [", "3"])
def test_a_file_that_holds_no_settings_is_refused(text):
    with pytest.raises(ConfigError, match=r"^demo\.yaml"):
        parse_experiment(text, source="demo.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        read_experiment(tmp_path / "nowhere.yaml")


SHIPPED = sorted((Path(aufleet.tuning.__file__).parent / "experiments").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_files_of_the_package_are_valid_and_begin_with_their_command(path):
    assert read_experiment(path).name == path.stem
    first = path.read_text().splitlines()[0]
    assert first.startswith("# aufleet")
    assert first.endswith(f"aufleet tune {path.stem}")
