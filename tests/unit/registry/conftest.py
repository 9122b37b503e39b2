"""A small real network as a package in a local store."""

from datetime import UTC, datetime

import pytest
import torch

from aufleet.registry.card import Architecture, Card, DatasetReference, FoldScore
from aufleet.registry.package import pack_members
from aufleet.storage import open_store, sha256_of
from aufleet_models import build_model

UNITS = (1, 12)


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
def weights(networks):
    return pack_members({f"fold{k}": one.state_dict() for k, one in enumerate(networks, start=1)})


@pytest.fixture
def card(networks, weights):
    options = {key: value for key, value in networks[0].config.items() if key != "name"}
    return Card(
        name="demo",
        task="au",
        kind="ensemble",
        architecture=Architecture(name="algrnet", options=options),
        members=("fold1", "fold2"),
        units=UNITS,
        frame_size=176,
        thresholds={"AU1": 0.4, "AU12": 0.5},
        temperature=2.0,
        scores=(
            FoldScore(fold=1, part="validation", macro_f1=0.6, per_label={"AU1": 0.6}, constant={}),
        ),
        dataset=DatasetReference(uri="s3://b/datasets/d/1", manifest_sha256="0" * 64),
        code_version="0.1.0",
        trials=("algrnet/0123456789/fold1",),
        created=datetime(2026, 1, 2, tzinfo=UTC),
        weights_sha256=sha256_of(weights),
        weights_size_bytes=len(weights),
    )
