"""The learning rate of each step."""

from dataclasses import replace
from itertools import pairwise

import pytest

from aufleet.errors import ConfigError
from aufleet.training import TrialConfig
from aufleet.training.schedule import learning_rate_at

CONFIG = TrialConfig(model="resnet18", dataset="faces/1", fold=1, epochs=6, learning_rate=0.1)
STEPS = 10


def rates_of(config: TrialConfig) -> list[float]:
    return [
        learning_rate_at(config, epoch=epoch, step=step, steps_per_epoch=STEPS)
        for epoch in range(1, config.epochs + 1)
        for step in range(STEPS)
    ]


def test_steps_halve_the_rate_every_two_epochs_as_in_the_papers() -> None:
    assert rates_of(CONFIG) == [0.1] * 20 + [0.05] * 20 + [0.025] * 20


def test_a_cosine_falls_at_every_step_to_nearly_nothing() -> None:
    rates = rates_of(replace(CONFIG, schedule="cosine"))
    assert rates[0] == 0.1
    assert rates[30] == pytest.approx(0.05)
    assert all(before > after for before, after in pairwise(rates))
    assert 0 < rates[-1] < 1e-3


def test_a_constant_rate_stays() -> None:
    assert set(rates_of(replace(CONFIG, schedule="constant"))) == {0.1}


@pytest.mark.parametrize("schedule", ["step", "cosine", "constant"])
def test_a_warm_up_rises_evenly_and_the_first_step_already_moves(schedule: str) -> None:
    rates = rates_of(replace(CONFIG, schedule=schedule, warmup_epochs=1.5))
    assert rates[:15] == pytest.approx([0.1 * (step + 1) / 15 for step in range(15)])
    assert rates[15] == 0.1
    assert max(rates) == 0.1


def test_a_warm_up_that_never_ends_is_refused() -> None:
    with pytest.raises(ConfigError, match="warmup_epochs is 6 of 6 epochs"):
        replace(CONFIG, warmup_epochs=6)


def test_the_names_of_older_configurations_stay() -> None:
    assert replace(CONFIG, schedule="step", warmup_epochs=0).config_id == CONFIG.config_id
    assert replace(CONFIG, schedule="cosine").config_id != CONFIG.config_id
