"""`aufleet ui`: MLflow's page answers on this machine, and Ctrl-C leaves nothing behind."""

import os
import signal
import subprocess
import sys
import urllib.request
import uuid

import psutil


def marked(mark: str) -> list[int]:
    """Return the processes that carry a mark in their environment."""
    found = []
    for one in psutil.process_iter():
        try:
            if one.environ().get("AUFLEET_TEST_MARK") == mark:
                found.append(one.pid)
        except psutil.Error:
            continue
    return found


def test_the_page_answers_until_ctrl_c(tmp_path):
    mark = uuid.uuid4().hex
    settings = {"AUFLEET_HOME": str(tmp_path / "home"), "AUFLEET_TEST_MARK": mark}
    running = subprocess.Popen(
        [sys.executable, "-m", "aufleet.cli", "ui"],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert running.stdout
        line = next(line for line in running.stdout if "shows the runs" in line)
        url = line.split()[0]
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert b"MLflow" in answer.read()
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(60) == 0
        assert marked(mark) == []
    finally:
        for pid in marked(mark):
            os.kill(pid, signal.SIGKILL)
        running.stdout.close()
        running.wait()


def test_a_tracking_server_has_a_page_of_its_own(home, monkeypatch):
    from typer.testing import CliRunner

    from aufleet.cli.main import app

    monkeypatch.setenv("AUFLEET_MLFLOW_URI", "https://mlflow.example.org")
    result = CliRunner().invoke(app, ["ui"])
    assert result.exit_code == 0
    assert "https://mlflow.example.org" in result.stdout
