import json
import stat
import time

import pytest

from aufleet.serving import access_log
from aufleet.serving.access_log import AccessLog, find_call
from aufleet.serving.call import Call


def call(request_id):
    now = time.monotonic()
    return Call(
        method="/a/b", request_id=request_id, caller="clinic", began_s=now, deadline_s=now + 1
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "access.log"


@pytest.fixture
def small(monkeypatch):
    """Turn files over after a few lines."""
    monkeypatch.setattr(access_log, "MAX_BYTES", 1000)
    monkeypatch.setattr(access_log, "LOOK_EVERY", 1)


def lines_of(folder):
    return [
        json.loads(line)
        for file in sorted(folder.glob("access.log*"), reverse=True)
        for line in file.read_text().splitlines()
    ]


def test_a_call_is_one_private_line(path):
    log = AccessLog(path)
    log.ended(call("one"), code="OK")
    log.close()
    log.ended(call("late"), code="OK")
    (line,) = lines_of(path.parent)
    assert {key: line[key] for key in ("event", "method", "code", "request_id", "caller")} == {
        "event": "call",
        "method": "/a/b",
        "code": "OK",
        "request_id": "one",
        "caller": "clinic",
    }
    assert line["timestamp"].endswith("Z")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_was_our_fault_is_told_with_its_trace(path):
    log = AccessLog(path)
    try:
        raise ValueError("broken")
    except ValueError as error:
        log.internal_error(call("one"), error)
    (line,) = lines_of(path.parent)
    assert "ValueError: broken" in line["exception"]
    assert find_call(path, request_id="one") is None


def test_large_files_are_turned_over_and_the_oldest_go(path, small):
    log = AccessLog(path)
    for number in range(100):
        log.ended(call(f"id-{number}"), code="OK")
    assert len(list(path.parent.glob("access.log*"))) == 1 + access_log.NUM_OLD_FILES
    assert path.stat().st_size < 1300
    assert find_call(path, request_id="id-99") is not None
    assert find_call(path, request_id="id-85") is not None
    assert find_call(path, request_id="id-0") is None


def test_gateways_that_share_a_file_lose_no_line(path, small, monkeypatch):
    monkeypatch.setattr(access_log, "NUM_OLD_FILES", 40)
    logs = [AccessLog(path) for _ in range(3)]
    for number in range(90):
        logs[number % 3].ended(call(f"id-{number}"), code="OK")
    found = {line["request_id"] for line in lines_of(path.parent)}
    assert found == {f"id-{number}" for number in range(90)}


def test_without_a_file_lines_go_to_standard_error(capsys):
    AccessLog(None).ended(call("one"), code="OK")
    assert json.loads(capsys.readouterr().err)["request_id"] == "one"
