"""The bars of long work on frames."""

import pytest

from aufleet.cli import data_progress
from aufleet.cli.data_progress import frames_bar, import_bar, objects_bar
from aufleet.data.importing import ImportProgress


def progress_at(frames_done: int) -> ImportProgress:
    return ImportProgress(
        num_subjects=10,
        num_frames=2000,
        subjects_done=8,
        frames_done=frames_done,
        frames_resumed=1800,
    )


def test_an_import_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with import_bar() as show:
        for frames_done in (1800, 1810):
            show(progress_at(frames_done))

    assert "1,810/2,000 frames, 8/10 subjects" in capsys.readouterr().err.replace("\n", " ")


def test_where_nobody_watches_a_line_is_written_now_and_then(capsys, monkeypatch) -> None:
    monkeypatch.setattr(data_progress, "LINE_EVERY_S", 0.0)

    with import_bar() as show:
        show(progress_at(1800))
        show(progress_at(1810))

    said = capsys.readouterr().err
    assert said.count("importing 1,8") >= 2
    # Frames of an earlier run do not stand in the speed.
    assert "1,800/2,000 frames, 8/10 subjects, 0 frames/s" in said


def test_bars_over_frames_and_bytes_reach_their_end(capsys) -> None:
    with frames_bar("reading", total=4) as advance:
        advance(3)
        advance(1)
    with objects_bar("verifying", total=2_000_000) as advance:
        advance(2_000_000)

    said = capsys.readouterr().err
    assert "4/4 frames" in said
    assert "2.0/2.0 MB" in said
