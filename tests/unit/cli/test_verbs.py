"""The command line as a whole: which verbs there are, what each says of itself, what is checked."""

import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from aufleet.cli.main import app

VERBS = {
    ("store", "start"): {"--json"},
    ("store", "stop"): {"--json"},
    ("store", "status"): {"--json"},
    ("store", "gc"): {"--older-than", "--dry-run", "--json"},
    ("data", "synth"): {
        *("--name", "--version", "--subjects", "--frames", "--seed", "--task", "--units"),
        "--json",
    },
    ("data", "import"): {
        *("--to", "--crop", "--landmarks", "--labels", "--subjects", "--frames", "--seed"),
        *("--set", "--parallelism", "--json"),
    },
    ("data", "inspect"): {"--html", "--json"},
    ("data", "verify"): {"--json"},
    ("data", "forget"): {"--version", "--delete", "--json"},
    ("models", "list"): {"--json"},
    ("models", "ablations"): {"--json"},
    ("models", "history"): {"--json"},
    ("models", "show"): {
        *("--image", "--out", "--aligned", "--checkpoint", "--member"),
        *("--task", "--units", "--width", "--json"),
    },
    ("token", "create"): {"--scope", "--expires-days", "--rate", "--max-calls", "--json"},
    ("token", "list"): {"--json"},
    ("token", "revoke"): set(),
    ("train",): {"--dataset", "--model", "--fold", "--epochs", "--set", "--out", "--json"},
    ("tune",): {
        *("--dataset", "--set", "--dry-run", "--simulate", "--cpus", "--retry-failed"),
        "--json",
    },
    ("leaderboard",): {"--json"},
    ("report",): {"--out", "--curves", "--json"},
    ("ui",): {"--port", "--host"},
    ("promote",): {
        *("--from", "--alias", "--min-f1", "--min-kappa", "--max-drop", "--max-ms"),
        *("--evaluate-on", "--force", "--reason", "--json"),
    },
    ("rollback",): {"--alias", "--reason", "--json"},
    ("trace",): {"--log", "--json"},
    ("evaluate",): {
        *("--unseen", "--through", "--target", "--token-file", "--ca-file", "--json"),
    },
    ("serve",): {
        *("--model", "--host", "--port", "--ready-file", "--cert-file", "--key-file"),
        *("--client-ca-file", "--metrics-port", "--gateways", "--analyzers", "--aligners"),
        "--gpus",
    },
    ("predict",): {
        *("--model", "--task", "--target", "--token-file", "--ca-file", "--plot", "--out"),
        *("--format", "--smooth", "--rate", "--all-faces", "--mirrored", "--json"),
    },
    ("health",): {"--ca-file", "--service", "--cert-file", "--key-file"},
    ("demo",): {"--keep", "--short", "--fresh"},
    ("doctor",): {"--only", "--json"},
}
"""Verb -> flags that other people's scripts rely on: they may grow and never go."""


def _help(*verb: str) -> str:
    result = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    return re.sub(r"\x1b\[[0-9;]*m", "", result.output)


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_verb_has_an_example_and_keeps_its_flags(verb: tuple[str, ...]) -> None:
    text = _help(*verb)
    assert f"Example: aufleet {' '.join(verb)}" in text
    assert VERBS[verb] <= set(re.findall(r"--[a-z][a-z0-9-]*", text))


def test_the_first_page_names_every_verb() -> None:
    text = _help()
    assert all(f" {verb[0]} " in text for verb in VERBS)
    assert "Research use only; not a medical device" in text


def test_importing_describes_the_table_of_a_labs_own_data() -> None:
    text = _help("data", "import")
    for column in ("subject", "image or video", "AU1_intensity", "house_brackmann", "part"):
        assert f"  {column} " in text


def test_doctor_says_what_it_found_and_how_to_mend_it(home, monkeypatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    result = CliRunner().invoke(app, ["doctor", "--json"])
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert {"Python", "cores", "GPU", "C++ compiler", "system libraries"} <= set(checks)
    assert {"local store", "loopback ports", "torch", "ray", "deepspeed"} <= set(checks)
    assert checks["face landmark model"]["ok"]
    assert not checks["credentials"]["ok"]
    assert "AWS_SHARED_CREDENTIALS_FILE" in checks["credentials"]["remedy"]
    assert "canary" not in result.stdout
    assert result.exit_code == 1


def test_the_catalog_is_listed_with_the_published_sizes() -> None:
    result = CliRunner().invoke(app, ["models", "list", "--json"])
    sizes = {row["name"]: row["parameters"] for row in json.loads(result.stdout)}
    assert sizes["algrnet"]["au12"] == 27_436_502
    assert sizes["jaanet"]["au8"] == 20_653_226
    assert len(sizes) == 8


@pytest.mark.parametrize(
    ("arguments", "code"), [(["nonsense"], 2), (["tune", "missing.yaml"], 1), (["tune"], 2)]
)
def test_a_wrong_call_ends_with_words_and_no_traceback(arguments, code, home) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aufleet.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert done.stderr
