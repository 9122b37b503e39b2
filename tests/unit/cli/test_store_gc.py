"""`aufleet store gc` on a folder and on S3."""

import json
import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aufleet.cli.main import app
from aufleet.errors import ConfigError
from aufleet.storage import Store

ORPHANS = (
    "datasets/lost/1/imports/ab/started.json",
    "datasets/lost/1/subject=S1/0.parquet",
    "models/ab/model.safetensors",
)
REFERENCED = (
    "models/cd/model.safetensors",
    "models/cd/card.json",
    "experiments/faces/trials/algrnet/ab/fold1/attempt-001/checkpoint-0001/model.safetensors",
    "experiments/faces/ledger/0001.json",
)


@pytest.fixture
def filled(store: Store) -> Store:
    for key in (*ORPHANS, *REFERENCED):
        store.write(key, b"1234")
    return store


def gc(*arguments: str) -> dict:
    done = CliRunner().invoke(app, ["store", "gc", *arguments, "--json"])
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def test_only_orphans_go_and_only_when_they_are_old_enough(filled) -> None:
    assert gc(filled.uri)["orphans"] == [], "a day is the default"

    # A store's clock tells whole seconds.
    time.sleep(1.1)
    planned = gc(filled.uri, "--older-than", "0m", "--dry-run")
    assert [filled.uri_of(key) for key in ORPHANS] == [one["uri"] for one in planned["orphans"]]
    assert planned["size_bytes"] == 12
    assert filled.keys() == sorted((*ORPHANS, *REFERENCED))

    assert gc(filled.uri, "--older-than", "0m")["orphans"] == planned["orphans"]
    assert filled.keys() == sorted(REFERENCED)


def test_one_data_set_may_be_named(filled) -> None:
    time.sleep(1.1)

    done = gc(filled.uri_of("datasets/lost/1"), "--older-than", "0m")

    assert len(done["orphans"]) == 2
    assert filled.keys() == sorted((ORPHANS[2], *REFERENCED))


def test_an_unfinished_write_goes_when_it_is_old(local_store: Store) -> None:
    left = Path(local_store.uri, "experiments", ".unfinished-ab")
    left.parent.mkdir(parents=True)
    left.write_bytes(b"12")
    assert gc(local_store.uri)["orphans"] == []
    os.utime(left, (0, 0))

    done = gc(local_store.uri)

    assert [one["reason"] for one in done["orphans"]] == ["an unfinished write"]
    assert not left.exists()


def test_a_version_whose_manifest_is_damaged_is_left_alone(local_store: Store) -> None:
    local_store.write("datasets/faces/1/manifest.json", b"{}")
    local_store.write("datasets/faces/1/subject=S1/0.parquet", b"")

    done = gc(local_store.uri, "--older-than", "0m")

    assert done["orphans"] == []
    assert "datasets/faces/1/manifest.json is damaged" in done["left_alone"][0]


@pytest.mark.parametrize("age", ["", "1", "1w", "-1h", "soon"])
def test_an_age_that_is_none_is_refused(local_store: Store, age: str) -> None:
    done = CliRunner().invoke(app, ["store", "gc", local_store.uri, "--older-than", age])

    assert isinstance(done.exception, ConfigError)
    assert "90m, 24h or 7d" in str(done.exception)
