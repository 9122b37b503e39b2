"""The demo in its short form: kept running, and stopped again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

AUFLEET = [sys.executable, "-m", "aufleet.cli"]

pytestmark = [pytest.mark.s3, pytest.mark.ray]


def test_a_kept_demo_answers_until_it_is_stopped(home: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*AUFLEET, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )

    done = run("demo", "--short", "--keep")
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        ready = json.loads((home / "serve.json").read_text())
        assert set(ready) == {"target", "token_file", "ca_file"}
        assert run("health", ready["target"], "--ca-file", ready["ca_file"]).returncode == 0
        answer = json.loads(run("predict", str(home / "demo-short/palsy.jpg"), "--json").stdout)
        assert (answer["model"], answer["version"]) == ("demo-short", "1")
        assert len(answer["frames"][0]["faces"][0]["landmarks"]) == 49
        board = json.loads(run("leaderboard", "demo-short", "--json").stdout)
        assert [set(row["folds"]) for row in board] == [{"1", "2", "3"}] * 2
        assert (home / "demo-short/astronaut-answer.png").read_bytes().startswith(b"\x89PNG")
    finally:
        file = home / "serve.pid"
        if file.exists():
            os.kill(int(file.read_text()), signal.SIGTERM)
        run("store", "stop")
