"""From an answer's request id, or a model's name, to the trials, the data and the code."""

import json
from datetime import UTC, datetime

import pytest
from served import publish_champion
from typer.testing import CliRunner

from aufleet.cli.main import app
from aufleet.errors import ConfigError, ModelNotFoundError
from aufleet.registry.card import DatasetReference
from aufleet.registry.versions import Versions
from aufleet.storage import open_store
from aufleet_models import build_model

NETWORK = {"name": "resnet18", "task": "au", "units": (1, 12), "width": 0.0625}
ORIGIN = {
    "dataset": DatasetReference(uri="s3://bucket/datasets/faces/1", manifest_sha256="7" * 64),
    "code_version": "9.8.7",
    "trials": ("resnet18/c1/fold1",),
    "created": datetime(2026, 2, 3, tzinfo=UTC),
}


@pytest.fixture
def traced(home, tmp_path, monkeypatch):
    """A served champion that has answered request `r-1`; request `r-2` was refused."""
    monkeypatch.setenv("AUFLEET_ROOT", str(tmp_path / "root"))
    network = build_model(**NETWORK)
    publish_champion(
        "faces",
        network.state_dict(),
        network.config,
        root=open_store(str(tmp_path / "root")),
        registry=Versions(),
        task="au",
        **ORIGIN,
    )
    log = home / "logs" / "access.log"
    log.parent.mkdir(parents=True)
    lines = [
        {"request_id": "r-1", "model": "faces:1", "code": "OK"},
        {"request_id": "r-2", "model": "", "code": "UNAUTHENTICATED"},
        {"request_id": "r-11", "model": "other:3", "code": "OK"},
    ]
    same = {"event": "call", "method": "/a.Service/DetectActionUnits", "caller": "clinic"}
    log.write_text("".join(json.dumps(same | line) + "\n" for line in lines))
    return log


def trace(*words: str) -> dict:
    done = CliRunner().invoke(app, ["trace", *words, "--json"])
    if done.exception:
        raise done.exception
    return json.loads(done.stdout)


@pytest.mark.parametrize("what", ["r-1", "faces", "faces:1", "faces@champion"])
def test_an_answer_leads_to_its_trials_data_and_code(traced, what):
    found = trace(what)
    assert found["version"] == "faces:1"
    assert found["trials"] == ["resnet18/c1/fold1"]
    assert (found["dataset"], found["manifest_sha256"]) == (ORIGIN["dataset"].uri, "7" * 64)
    assert found["code_version"] == "9.8.7"
    assert (found["request"] is not None) == (what == "r-1")


def test_a_call_is_found_in_an_older_log(traced):
    traced.rename(traced.with_name("access.log.2"))
    assert trace("r-1")["request"]["caller"] == "clinic"


def test_a_request_that_no_model_answered_says_how_it_ended(traced):
    with pytest.raises(ConfigError, match=r"no model answered request r-2: .*UNAUTHENTICATED"):
        trace("r-2")


def test_an_unknown_request_is_taken_for_a_model_and_refused(traced):
    with pytest.raises(ModelNotFoundError, match="no model 'r-3'"):
        trace("r-3")
