"""A network hears of each epoch before it begins, also after a resume."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load

from aufleet.storage import open_store
from aufleet.training import run_trial
from aufleet.training.trial import build_network


def _last(store) -> str:
    return max(key.rpartition("/")[0] for key in store.keys("") if key.endswith("checkpoint.json"))


def test_epochs_are_told_as_they_are_counted(config, store, fold, build, listener) -> None:
    heard = []

    def build_and_listen(config, units):
        network = build(config, units)
        network.start_epoch = heard.append
        return network

    for stop_after in (2, None):
        run_trial(
            config,
            store=store,
            report=listener(stop_after),
            data=fold(config=config),
            build=build_and_listen,
        )
    assert heard == [1, 2, 3, 4]


@pytest.mark.parametrize(("stage", "optimizer"), [(0, "sgd"), (2, "adamw")])
def test_gates_stay_for_their_epochs_and_a_resumed_trial_has_the_same_bits(
    config, tmp_path, fold, listener, stage, optimizer
) -> None:
    """Stopped in front of the epoch that lets the gates go, and within the frozen ones."""
    options = {"input_size": 16, "gate_epochs": 2}
    config = replace(config, model="medt", width=0.125, options=options, zero_stage=stage)
    config = replace(config, optimizer=optimizer, weight_decay=0.0)
    stores = {}
    for name, stops in (("whole", [None]), ("broken", [1, 1, None])):
        stores[name] = open_store(str(tmp_path / name))
        for stop_after in stops:
            run_trial(
                config,
                store=stores[name],
                report=listener(stop_after),
                data=fold(config=config),
                build=build_network,
            )
            if stop_after is not None:
                assert not _moved_gates(stores[name])
    files = {s.read(f"{_last(s)}/model.safetensors") for s in stores.values()}
    states = {s.read(f"{_last(s)}/optimizer.safetensors") for s in stores.values()}
    assert (len(files), len(states)) == (1, 1)
    assert _moved_gates(stores["whole"])


def _moved_gates(store) -> list[str]:
    weights = load(store.read(f"{_last(store)}/model.safetensors"))
    first = torch.tensor([0.1, 0.1, 0.1, 1.0])
    return [k for k, v in weights.items() if k.endswith("gates") and not torch.equal(v, first)]
