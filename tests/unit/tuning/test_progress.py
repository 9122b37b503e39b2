"""What a person sees of a search."""

import io

from rich.console import Console

from aufleet.training.results import EpochReport
from aufleet.tuning.grid import ConfigurationSource
from aufleet.tuning.progress import LineProgress, LiveProgress, show_progress

from .conftest import record_of

REPORT = EpochReport(
    epoch=2,
    score=0.6,
    loss=0.4,
    train_loss=0.5,
    per_label={},
    seconds=1,
    frames_per_s=99,
    learning_rate=0.1,
)


def play(progress, experiment, root):
    trial = ConfigurationSource(experiment, root=root).next_configuration().trials[0]
    before = [record_of("d" * 10, score=0.4), record_of("e" * 10, status="crashed", score=None)]
    progress.search_started(num_trials=6, ended=before)
    progress.trial_started(trial)
    progress.epoch_ended(trial, REPORT)
    progress.trial_ended(trial, record_of(trial.config_id, score=0.62))
    progress.trial_started(trial)
    progress.trial_ended(
        trial, record_of(trial.config_id, status="crashed", score=None, reason="it broke")
    )
    progress.test_started(num_folds=3)
    progress.search_ended()


def test_a_log_gets_a_line_per_trial(experiment, root):
    lines = []
    play(LineProgress(lines.append), experiment, root)
    assert lines[0] == "6 trials, 1 ended before"
    assert "F1 0.620 at epoch 2" in lines[2]
    assert "2/6 trials, best F1 0.620" in lines[2]
    assert "crashed: it broke; it will be tried again" in lines[4]


def test_a_terminal_gets_bars(experiment, root):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, highlight=False, width=200)
    progress = show_progress(console)
    assert isinstance(progress, LiveProgress)
    play(progress, experiment, root)
    assert "F1 0.620 at epoch 2" in screen.getvalue()
    assert "2/6" in screen.getvalue()


def test_a_pipe_is_no_terminal():
    assert isinstance(show_progress(Console(file=io.StringIO())), LineProgress)
