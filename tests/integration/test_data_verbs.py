"""`aufleet data` as a person or a program calls it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aufleet.data.rendering import render_in_parallel
from aufleet.data.synthetic import SyntheticSettings, render_subject

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

    again = data("synth", *SMALL, "--units", "AU1,AU12", "--json", environment=environment)
    assert json.loads(again.stdout) == content
    assert "nothing was rendered" in again.stderr

    other = data("synth", *SMALL, "--seed", "1", environment=environment)
    assert other.returncode == 1
    assert "choose another --name or --version" in other.stderr


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
