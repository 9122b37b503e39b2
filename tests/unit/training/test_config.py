import pickle

import pytest
from pydantic import ValidationError

from aufleet.errors import ConfigError
from aufleet.training import TrialConfig

SETTINGS = {"model": "algrnet", "dataset": "datasets/synthetic/1", "fold": 1}


def test_the_same_settings_have_the_same_name_on_every_fold_and_others_another() -> None:
    first = TrialConfig.from_settings(SETTINGS)
    assert TrialConfig.from_settings({**SETTINGS, "fold": 2}).config_id == first.config_id
    assert TrialConfig.from_settings({**SETTINGS, "seed": 1}).config_id != first.config_id
    assert len(first.config_id) == 10
    assert first.config_id == "281a6a76ec"  # names of folders: never change how it is computed


def test_settings_survive_a_file_and_a_process() -> None:
    config = TrialConfig.from_settings({**SETTINGS, "units": [1, 12], "adaptive": False})
    assert config.units == (1, 12)
    assert config.options == {"adaptive": False}
    assert TrialConfig.from_settings(config.settings) == config
    assert pickle.loads(pickle.dumps(config)) == config


def test_a_misspelt_key_names_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match="unknown setting 'learning_rte': did you mean 'learning"):
        TrialConfig.from_settings({**SETTINGS, "learning_rte": 0.1})
    with pytest.raises(ConfigError, match="did you mean 'adaptive'"):
        TrialConfig.from_settings({**SETTINGS, "adaptiv": True})


def test_a_number_that_yaml_reads_as_text_is_a_number() -> None:
    assert TrialConfig.from_settings({**SETTINGS, "learning_rate": "1e-3"}).learning_rate == 0.001


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("epochs", 0, "setting 'epochs' is 0"),
        ("learning_rate", "fast", "setting 'learning_rate' is 'fast'"),
        ("learning_rate", float("inf"), "'learning_rate'"),
        ("zero_stage", 4, "'zero_stage'"),
        ("precision", "fp16", "'precision'"),
        ("fold", 4, "'fold'"),
        ("adaptive", "perhaps", "option adaptive of algrnet is 'perhaps'"),
        ("units", [3], "units names 3: known units are 1, 2, 4"),
        ("model", "algrnetz", "'algrnetz' is not in the catalog"),
    ],
)
def test_a_bad_value_is_named(key: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TrialConfig.from_settings({**SETTINGS, key: value})


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="setting 'dataset' is missing"):
        TrialConfig.from_settings({"model": "algrnet", "fold": 1})


def test_a_palsy_trial_takes_no_units() -> None:
    with pytest.raises(ConfigError, match="leave units out"):
        TrialConfig.from_settings({**SETTINGS, "task": "palsy", "units": [1]})


def test_a_value_is_checked_however_a_trial_is_built() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        TrialConfig(model="algrnet", dataset="x", fold=1, batch=0)


def test_what_changes_no_number_is_no_part_of_a_name() -> None:
    config = TrialConfig.from_settings(
        {**SETTINGS, "keep_best": 3, "stall_s": 5, "accumulation": 1}
    )
    assert config.config_id == "281a6a76ec"
    assert TrialConfig.from_settings({**SETTINGS, "accumulation": 2}).config_id != "281a6a76ec"


@pytest.mark.parametrize(
    "parts", [{"ranks": 3}, {"accumulation": 3}, {"ranks": 4, "accumulation": 8}]
)
def test_a_batch_that_cannot_be_split_is_refused(parts: dict) -> None:
    with pytest.raises(ConfigError, match="a batch of 16 frames cannot be split over"):
        TrialConfig.from_settings({**SETTINGS, **parts})
