"""`aufleet tune`, `leaderboard` and `promote` as a person or a program calls them."""

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from aufleet.cli.main import app
from aufleet.registry.package import load_package

pytestmark = [pytest.mark.ray, pytest.mark.s3]

COMMAND = [sys.executable, "-m", "aufleet.cli"]
EXPERIMENT = """
name: {name}
task: {task}
dataset: {name}/1
models: [algrnet]
folds: {folds}
fixed: {{width: 0.0625, epochs: {epochs}, batch: 8}}
"""


@pytest.fixture(scope="module")
def environment(s3_server, tmp_path_factory) -> dict[str, str]:
    """A fresh root in a real S3 server, and a state folder of its own."""
    return {
        **os.environ,
        "AUFLEET_ROOT": f"{s3_server.root}/{uuid.uuid4().hex}",
        "AUFLEET_HOME": str(tmp_path_factory.mktemp("home")),
        "OMP_NUM_THREADS": "1",
    }


def aufleet(*arguments, environment) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=300
    )


def answer(*arguments, environment):
    done = aufleet(*arguments, "--json", environment=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def asked(*arguments, environment):
    """Return the answer of a verb in this process, which has imported already what it needs."""
    done = CliRunner().invoke(app, [*arguments, "--json"], env=environment)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return json.loads(done.stdout)


def write_experiment(folder: Path, *, name, task="au", folds="[1, 2]", epochs=1) -> str:
    file = folder / f"{name}.yaml"
    file.write_text(EXPERIMENT.format(name=name, task=task, folds=folds, epochs=epochs))
    return str(file)


def synthesise(name, task, *, environment) -> None:
    units = ("--units", "AU1,AU12") if task == "au" else ()
    size = ("--subjects", "6", "--frames", "4")
    asked("data", "synth", "--name", name, "--task", task, *size, *units, environment=environment)


def test_from_an_experiment_file_to_a_model_version(environment, tmp_path):
    synthesise("units", "au", environment=environment)
    file = write_experiment(tmp_path, name="units")

    rows = answer("tune", file, environment=environment)

    assert [(row["model"], row["status"]) for row in rows] == [("algrnet", "finished")]
    assert set(rows[0]["folds"]) == set(rows[0]["test"]["folds"]) == {"1", "2"}
    assert asked("leaderboard", "units", environment=environment) == rows
    shown = aufleet("leaderboard", "units", environment=environment).stdout
    assert "mean over folds" in shown

    refused = aufleet("promote", "units", "--min-f1", "1.01", environment=environment)
    assert refused.returncode == 1
    assert "units:1 is registered, champion does not move to it: F1 of AU1 is" in refused.stderr
    forced = ("--min-f1", "1.01", "--force", "--reason", "to see it", "--alias", "candidate")
    asked("promote", "units", *forced, environment=environment)
    history = asked("models", "history", "units", environment=environment)
    assert [(one["alias"], one["reason"]) for one in history] == [
        ("candidate", "forced: to see it")
    ]

    promoted = asked("promote", "units", environment=environment)

    assert (promoted["version"], promoted["aliases"]) == ("1", ["candidate", "champion"])
    assert asked("promote", "units", environment=environment) == promoted
    loaded = load_package(promoted["package"])
    assert loaded.card.members == ("fold1", "fold2")
    assert {(one.fold, one.part) for one in loaded.card.scores} == {
        (fold, part) for fold in (1, 2) for part in ("validation", "test")
    }
    assert set(loaded.card.thresholds) == {"AU1", "AU12"}
    assert probabilities_of(loaded).shape == (1, 2)

    refit = asked("promote", "units", "--from", "refit", environment=environment)

    assert (refit["version"], refit["members"]) == ("2", ["refit"])
    refitted = load_package(refit["package"])
    assert refitted.card.refit_epochs == 1
    assert refitted.card.thresholds == loaded.card.thresholds
    assert probabilities_of(refitted).shape == (1, 2)


def test_palsy_differs_by_a_line_of_the_file(environment, tmp_path):
    synthesise("grades", "palsy", environment=environment)
    file = write_experiment(tmp_path, name="grades", task="palsy")

    rows = answer("tune", file, "--set", "side_head=true", environment=environment)
    promoted = asked(
        "promote", "grades", "--from", "best-fold", "--alias", "candidate", environment=environment
    )

    assert set(rows[0]["per_label"]) == {"normal", "low", "medium", "high"}
    assert promoted["aliases"] == ["candidate"]
    loaded = load_package(promoted["package"])
    assert loaded.card.num_members == 1
    assert loaded.card.thresholds == {}
    assert all(score.kappa is not None for score in loaded.card.scores)
    assert loaded.card.trained_heads == ("side",)
    assert probabilities_of(loaded).sum() == pytest.approx(1.0, abs=1e-5)


def probabilities_of(package) -> torch.Tensor:
    with torch.no_grad():
        return package.model(torch.zeros(1, 3, 176, 176)).probabilities


def test_a_plan_is_printed_without_running_anything(environment, tmp_path):
    file = write_experiment(tmp_path, name="plan", folds="[1, 2, 3]")
    plan = answer("tune", file, "--dry-run", environment=environment)
    assert plan == {
        "configurations": 1,
        "folds": [1, 2, 3],
        "trials": 3,
        "resources_per_trial": {"ranks": 1, "cpus": 1, "gpus": 0},
    }


def test_a_misspelt_key_is_one_line_that_names_the_file(environment, tmp_path):
    file = Path(write_experiment(tmp_path, name="wrong"))
    file.write_text(file.read_text().replace("dataset:", "datset:"))
    done = aufleet("tune", str(file), environment=environment)
    assert done.returncode == 1
    assert done.stderr.strip() == (f"error {file}: unknown key 'datset': did you mean 'dataset'?")


def test_an_experiment_without_results_is_one_line(environment):
    for verb in ("leaderboard", "promote"):
        done = aufleet(verb, "nothing-here", environment=environment)
        assert done.returncode == 1
        assert "there is no experiment at" in done.stderr
        assert done.stderr.count("\n") == 1


# As a terminal and as a supervisor do it: Ctrl-C reaches the whole group, SIGTERM the command.
@pytest.mark.parametrize(
    ("number", "send"), [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill)]
)
def test_a_stopped_search_leaves_no_process_and_no_file(number, send, environment, tmp_path):
    name = f"stopped-{number.name.lower()}"
    synthesise(name, "au", environment=environment)
    file = write_experiment(tmp_path, name=name, epochs=500)
    mark = uuid.uuid4().hex
    running = subprocess.Popen(
        [*COMMAND, "tune", file],
        env=environment | {"AUFLEET_TEST_MARK": mark},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    limit = threading.Timer(120, running.kill)
    limit.start()
    for line in running.stderr:
        if "started" in line:
            break
    assert marked(mark), "Ray's processes carry the mark"
    send(running.pid, number)
    _, rest = running.communicate(timeout=60)
    limit.cancel()
    assert running.returncode == 128 + number, rest
    assert "Traceback" not in rest
    assert marked(mark) == []
    assert list(Path("/tmp").glob(f"aufleet-{running.pid}-*")) == []


def marked(mark: str) -> list[str]:
    """Return the processes that were started with this test's mark in their environment."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            if f"AUFLEET_TEST_MARK={mark}".encode() in (one / "environ").read_bytes():
                found.append((one / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200])
        except OSError:
            continue
    return found
