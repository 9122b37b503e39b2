"""Each network of the catalog under ZeRO: no layer may read weights that are not gathered."""

from contextlib import closing

import pytest
import torch

from aufleet.training import TrialConfig, engine, join_ranks
from aufleet.training.engine import Engine
from aufleet.training.environment import trial_process
from aufleet_models import build_model, list_models

UNITS = (1, 12)
# Wide enough that branches run one after the other on a CPU.
OPTIONS = {
    "algrnet": {"width": 0.34},
    "lgrnet": {"width": 0.34},
    "jaanet": {"width": 0.5, "refinement_weight": 1e-4},
    "mgrrnet": {"width": 0.34},
    "lpnet": {"width": 0.0625, "num_points": 49, "frame_size": 64, "input_size": 64},
    "resnet18": {"width": 0.0625, "frame_size": 64},
    "resnet50": {"width": 0.0625, "frame_size": 64},
    "medt": {"width": 0.125, "input_size": 32},
}


def _trained(name: str, *, stage: int) -> dict[str, torch.Tensor]:
    """Return the weights after two steps."""
    with trial_process(threads=1, seed=0):
        network = build_model(name, task="au", units=list(UNITS), **OPTIONS[name])
        config = TrialConfig.from_settings(
            {"dataset": "none", "model": name, "fold": 1, "batch": 2, "zero_stage": stage}
        )
        batch = _batch(network.frame_size)
        with closing(Engine(network, config=config, ranks=join_ranks())) as trained:
            trained.set_learning_rate(0.01)
            for _ in range(2):
                trained.step(batch)
            trained.predict(batch["frames"], batch["landmarks"])
            return trained.weights()


def _batch(side: int) -> dict[str, torch.Tensor]:
    landmarks = torch.rand(2, 49, 2) * 40 + 60
    landmarks[:, 25:31, 0] += 40
    return {
        "frames": torch.rand(2, 3, side, side) * 2 - 1,
        "landmarks": landmarks,
        "units": torch.tensor([[1, 0], [0, 1]]),
    }


@pytest.mark.parametrize("name", list_models())
def test_gathering_each_layer_only_while_it_runs_changes_no_weight(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By default ZeRO-3 leaves small parameters whole, which hides who reads them from outside.
    whole = engine._deepspeed_config

    def gathered(config: TrialConfig, **others: int) -> dict:
        found = whole(config, **others)
        if config.zero_stage == 3:
            found["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        return found

    monkeypatch.setattr(engine, "_deepspeed_config", gathered)
    expected, partitioned = _trained(name, stage=0), _trained(name, stage=3)
    assert expected.keys() == partitioned.keys()
    for key, value in expected.items():
        # Hooks may change the order in which gradients are summed.
        torch.testing.assert_close(partitioned[key], value, atol=1e-6, rtol=1e-5)
