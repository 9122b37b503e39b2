"""`aufleet data` as a person or a program calls it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cards import a_card
from click.testing import Result
from painted_importer import painted
from typer.testing import CliRunner

from aufleet.cli.main import app
from aufleet.data.publish import DatasetSpec, publish_dataset
from aufleet.data.rendering import render_in_parallel
from aufleet.data.synthetic import SyntheticSettings, render_subject
from aufleet.registry.card import DatasetReference
from aufleet.registry.package import write_package
from aufleet.storage import open_store, sha256_of

COMMAND = [sys.executable, "-m", "aufleet.cli", "data"]
SMALL = ("--subjects", "6", "--frames", "2")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A local folder as root, and no state of this machine's user."""
    places = {"AUFLEET_ROOT": str(tmp_path / "root"), "AUFLEET_HOME": str(tmp_path / "home")}
    return {**os.environ, **places}


def data(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=120
    )


def test_a_rendered_data_set_can_be_inspected(environment, tmp_path) -> None:
    made = data("synth", *SMALL, "--units", "AU1,AU12", "--json", environment=environment)
    assert made.returncode == 0, made.stderr

    inspected = data("inspect", "synthetic/1", "--json", environment=environment)

    content = json.loads(inspected.stdout)
    assert content == json.loads(made.stdout)
    assert (content["subjects"], content["frames"]) == (6, 12)
    assert content["units"] == ["AU1", "AU12"]
    assert set(content["positive_rates"]) == {"AU1", "AU12"}
    assert set(content["folds"]) == {"1", "2", "3"}
    assert {part: len(names) for part, names in content["folds"]["1"].items()} == {
        "train": 2,
        "validation": 2,
        "test": 2,
    }
    assert content["unusable"] == {}
    # The same by its whole URI, for people.
    shown = data("inspect", f"{tmp_path}/root/datasets/synthetic/1", environment=environment)
    assert "6 subjects, 12 frames" in shown.stdout
    assert content["missing_labels"] == {"AU1": 0, "AU12": 0}

    again = data("synth", *SMALL, "--units", "AU1,AU12", "--json", environment=environment)
    assert json.loads(again.stdout) == content
    assert "nothing was rendered" in again.stderr

    other = data("synth", *SMALL, "--seed", "1", environment=environment)
    assert other.returncode == 1
    assert "choose another --name or --version" in other.stderr


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root that holds a data set of six subjects with three painted frames each."""
    root = tmp_path / "root"
    monkeypatch.setenv("AUFLEET_ROOT", str(root))
    spec = DatasetSpec(name="faces", version="1", units=(1, 12), source="a test", seed=0)
    names = [f"S{number}" for number in range(6)]
    publish_dataset(
        ((name, [painted(name, frame, red=40) for frame in range(3)]) for name in names),
        spec=spec,
        store=open_store(str(root)),
    )
    return root


def verb(*arguments: str) -> Result:
    """Run a verb in this process: starting one takes seconds."""
    return CliRunner().invoke(app, ["data", *arguments])


def test_a_data_set_is_verified_and_each_damaged_object_named(root) -> None:
    whole = verb("verify", "faces/1", "--json")
    assert (whole.exit_code, json.loads(whole.stdout)["damaged"]) == (0, [])
    assert json.loads(whole.stdout)["objects"] == 6

    one, other = sorted(root.rglob("*.parquet"))[:2]
    one.write_bytes(one.read_bytes()[:-1] + b"?")
    other.unlink()
    damaged = verb("verify", "faces/1", "--json")

    assert damaged.exit_code == 1
    first, second = json.loads(damaged.stdout)["damaged"]
    assert one.name in first
    assert other.name in second


def test_a_subject_who_withdrew_is_forgotten(root) -> None:
    kept = json.loads(verb("forget", "S3", "faces/1", "--json").stdout)
    assert kept["uri"] == f"{root}/datasets/faces/2"
    assert [one["what"] for one in kept["to_delete"]] == [
        "manifest that names the subject",
        "frames",
    ]
    assert kept["to_delete"][1]["uri"].startswith(f"{root}/datasets/faces/1/subject=S3/")

    deleted = json.loads(verb("forget", "S3", "faces/1", "--delete", "--json").stdout)

    assert deleted["deleted"] == [kept["to_delete"][1]["uri"]]
    assert [one["what"] for one in deleted["to_delete"]] == ["manifest that names the subject"]
    assert deleted["models"] == []
    assert not list(root.rglob("subject=S3/*"))
    for version, frames in (("1", 18), ("2", 15)):
        inspected = verb("inspect", f"faces/{version}", "--json")
        assert json.loads(inspected.stdout)["frames"] == frames
        assert verb("verify", f"faces/{version}").exit_code == 0


def test_models_that_were_trained_with_the_subject_are_named(root) -> None:
    manifest = (root / "datasets" / "faces" / "1" / "manifest.json").read_bytes()
    reference = DatasetReference(uri="faces/1", manifest_sha256=sha256_of(manifest))
    card = a_card(dataset=reference, weights_sha256=sha256_of(b""), weights_size_bytes=0)
    trained = write_package(card, b"", root=open_store(str(root)))
    another = DatasetReference(uri="other/1", manifest_sha256=sha256_of(b"other"))
    write_package(card.model_copy(update={"dataset": another}), b"", root=open_store(str(root)))

    said = json.loads(verb("forget", "S3", "faces/1", "--json").stdout)

    assert said["models"] == [trained]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("verify", "nothing/1"), "no data set at"),
        (("forget", "F001", "nothing/1"), "no data set at"),
        (("forget", "S99", "faces/1"), "no subject S99"),
        (("import", "nothing", "source", "--to", "faces/2"), "no importer 'nothing'"),
        (("import", "synthetic", "faces", "--to", "/faces/1"), "no place for a data set"),
        (("import", "synthetic", "faces", "--to", "a/1", "--labels", "x"), "no option labels"),
        (("import", "synthetic", "faces", "--to", "faces/1"), "already published"),
        (("import", "folder", "nowhere", "--to", "faces/2"), "no folder"),
    ],
)
def test_a_wrong_wish_is_refused_before_any_work(root, arguments, complaint) -> None:
    assert complaint in str(verb(*arguments).exception)


def test_palsy_faces_have_grades(environment) -> None:
    made = data("synth", *SMALL, "--task", "palsy", "--json", environment=environment)

    assert sum(json.loads(made.stdout)["grades"].values()) == 12
    assert "not graded" not in json.loads(made.stdout)["grades"]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("inspect", "nothing/1"), 1, "no data set at"),
        (("synth", *SMALL, "--units", "AU99"), 1, "not an action unit"),
        (("synth", *SMALL, "--name", "a/b"), 1, "cannot name a data set"),
        (("synth", "--subjects", "3"), 2, "--subjects"),
        (("synth", "--task", "sing"), 2, "--task"),
    ],
)
def test_a_wrong_argument_ends_with_one_error(environment, arguments, code, complaint) -> None:
    ended = data(*arguments, environment=environment)

    assert ended.returncode == code
    assert complaint in ended.stderr.replace("\n", " ")
    assert "Traceback" not in ended.stderr


def test_ctrl_c_ends_every_process_and_publishes_nothing(environment, tmp_path) -> None:
    started = subprocess.Popen(
        [*COMMAND, "synth", "--subjects", "200", "--frames", "20"],
        env=environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    partitions = tmp_path / "root" / "datasets" / "synthetic" / "1"
    deadline = time.monotonic() + 90
    while not any(partitions.rglob("*.parquet")):
        assert started.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)

    os.killpg(started.pid, signal.SIGINT)
    _, said = started.communicate(timeout=60)

    assert started.returncode == 130
    assert b"Traceback" not in said
    assert not alive(session=started.pid)
    assert not (partitions / "manifest.json").exists()


def alive(*, session: int) -> list[str]:
    """Return the processes of a session that still run."""
    listed = subprocess.run(
        ["ps", "-o", "stat=,cmd=", "-s", str(session)], capture_output=True, text=True
    )
    return [line for line in listed.stdout.splitlines() if not line.startswith("Z")]


def test_many_processes_draw_what_one_draws() -> None:
    settings = SyntheticSettings(num_subjects=3, frames_per_subject=2, seed=4)

    drawn = {name: frames for name, frames in render_in_parallel(settings, processes=2)}

    for index, (name, frames) in enumerate(drawn.items()):
        alone, expected = render_subject(settings, index)
        assert name == alone
        assert [frame.jpeg for frame in frames] == [frame.jpeg for frame in expected]
        assert [frame.units for frame in frames] == [frame.units for frame in expected]
