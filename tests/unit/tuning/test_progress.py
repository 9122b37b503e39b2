"""What a person sees of a search."""

import io
from datetime import UTC, datetime

from rich.console import Console

from aufleet.training.results import EpochReport
from aufleet.tuning.grid import ConfigurationSource
from aufleet.tuning.progress import LineProgress, LiveProgress, show_progress
from aufleet.tuning.records import CONTROL, StopRecord
from aufleet.tuning.tally import Tally

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


def stop_of(config_id):
    return StopRecord(
        model="algrnet",
        config_id=config_id,
        rule="asha",
        epoch=2,
        folds=(1,),
        mean=0.2,
        better=3,
        compared=4,
        reason="stopped at epoch 2 on fold 1: 3 of 4 others lead its mean F1 0.200",
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_folds_that_never_start_are_not_waited_for():
    clock = iter(range(0, 1000, 100)).__next__
    tally = Tally(now=lambda: float(clock()))
    tally.start(9, ended=[], num_folds=3)
    running = record_of("a" * 10, status="stopped", score=None, gpus=2, held_s=1800.0)
    tally.begin(running.trial_id)
    tally.stop(stop_of("a" * 10))
    assert (tally.done, tally.counts) == (2, "1 running, 6 queued, 1 configurations stopped")
    tally.end(running)
    assert tally.done == 3
    assert tally.counts == "0 running, 6 queued, 1 configurations stopped, 1.00 GPU hours"
    assert tally.best == "none yet"


def test_a_lucky_fold_does_not_outshine_a_whole_configuration():
    tally = Tally()
    tally.start(9, ended=[], num_folds=3)
    for fold in (1, 2):
        tally.end(record_of("a" * 10, fold=fold, score=0.5))
    tally.end(record_of("b" * 10, score=0.9))
    assert tally.best == "F1 0.500 algrnet aaaaaaaaaa (2 folds)"


def test_a_check_on_shuffled_labels_is_counted_and_never_the_best():
    tally = Tally()
    tally.start(2, ended=[], num_folds=1)
    tally.end(record_of("a" * 10, score=0.5))
    tally.end(record_of("b" * 10, score=0.9, row=CONTROL))
    assert (tally.done, tally.best) == (2, "F1 0.500 algrnet aaaaaaaaaa (1 fold)")


def test_a_log_says_why_a_configuration_was_given_up():
    lines = []
    progress = LineProgress(lines.append)
    progress.configuration_stopped(stop_of("a" * 10))
    assert lines == [f"algrnet {'a' * 10} {stop_of('a').reason}"]


def test_a_pipe_is_no_terminal():
    assert isinstance(show_progress(Console(file=io.StringIO())), LineProgress)
