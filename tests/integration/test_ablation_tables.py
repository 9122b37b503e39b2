"""A table of named rows from its file to its results, with a row that starts from another."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.ray

COMMAND = [sys.executable, "-m", "aufleet.cli"]
TABLE = """
name: steps
task: au
dataset: tiny/1
models: [resnet18]
folds: [1, 2, 3]
inputs: {stem: a trunk of your own}
fixed: {epochs: 9, batch: 8, width: 0.0625}
rows:
  from-own:
    settings: {initialize_from: {uri: "{stem}", into: stem}}
  first:
    label: Stem
    settings: {learning_rate: 0.02}
    published: {mean: 58.0}
  second:
    label: Stem + more
    settings:
      initialize_from: {uri: "rows/first/fold{fold}", parts: [stem]}
      learning_rates: {stem: 0.5}
"""
SMALLER = ("--set", "folds=[2]", "--set", "epochs=1", "--dataset", "tiny/1")


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **clean,
        "AUFLEET_ROOT": str(tmp_path / "root"),
        "AUFLEET_HOME": str(tmp_path / "home"),
        "OMP_NUM_THREADS": "1",
    }


def aufleet(*arguments, environment) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=600
    )


def test_a_table_runs_row_by_row_and_every_row_is_scored(environment, tmp_path) -> None:
    file = tmp_path / "steps.yaml"
    file.write_text(TABLE)
    size = ("--subjects", "6", "--frames", "3", "--units", "AU1,AU12")
    made = aufleet("data", "synth", "--name", "tiny", *size, environment=environment)
    assert made.returncode == 0, made.stderr

    plan = aufleet("tune", str(file), *SMALLER, "--dry-run", "--json", environment=environment)
    assert plan.returncode == 0, plan.stderr
    plan = json.loads(plan.stdout)
    assert (plan["configurations"], plan["folds"], plan["trials"]) == (2, [2], 2)
    assert list(plan["rows"]) == ["first", "second"]
    assert plan["left_out"] == {
        "from-own": "it needs stem, a trunk of your own: give --set stem=URI"
    }

    done = aufleet("tune", str(file), *SMALLER, "--json", environment=environment)
    assert done.returncode == 0, done.stderr
    assert "row from-own is left out: it needs stem" in done.stderr
    rows = {row["row"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {"first", "second"}
    assert all(set(row["folds"]) == set(row["test"]["folds"]) == {"2"} for row in rows.values())
    assert rows["second"]["config_id"] == plan["rows"]["second"]

    [record] = (tmp_path / "root/experiments/steps/ledger/trials").glob(
        f"*/{plan['rows']['second']}/fold2/001.f000001.json"
    )
    started = json.loads(record.read_text())["initialized"]
    assert f"/trials/resnet18/{plan['rows']['first']}/fold2/attempt-001/" in started["uri"]
    assert (started["copied"], started["fresh"]) == (["stem"], ["classifier"])
