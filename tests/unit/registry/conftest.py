"""A small real network as a package in a local store."""

import pytest
import torch
from cards import UNITS, a_package

from aufleet.registry.card import FoldScore
from aufleet.storage import open_store
from aufleet_models import build_model


@pytest.fixture
def root(tmp_path):
    return open_store(str(tmp_path / "root"))


@pytest.fixture(scope="session")
def networks():
    """Two equal architectures with different weights."""
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        made.append(build_model("algrnet", task="au", units=UNITS, width=0.125).eval())
    return made


@pytest.fixture(scope="session")
def package(networks):
    """The card of both, and their packed weights."""
    return a_package(
        {f"fold{k}": one.state_dict() for k, one in enumerate(networks, start=1)},
        networks[0].config,
        name="demo",
        kind="ensemble",
        thresholds={"AU1": 0.4, "AU12": 0.5},
        temperature=2.0,
        scores=(
            FoldScore(fold=1, part="validation", macro_f1=0.6, per_label={"AU1": 0.6}, constant={}),
        ),
        trials=("algrnet/0123456789/fold1",),
    )


@pytest.fixture
def card(package):
    return package[0]


@pytest.fixture
def weights(package):
    return package[1]
