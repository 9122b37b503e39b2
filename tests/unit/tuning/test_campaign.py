"""Which fold comes next, who lives, and what a budget allows."""

import pytest

from aufleet.training.results import EpochReport
from aufleet.tuning.campaign import Campaign
from aufleet.tuning.experiment import parse_experiment
from aufleet.tuning.grid import ConfigurationSource
from aufleet.tuning.leaderboard import read_leaderboard
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.limits import Budget
from aufleet.tuning.meter import Meter
from aufleet.tuning.runs import limits_of

from .conftest import result_of

FILE = """
name: small
task: au
dataset: faces/1
models: [algrnet]
fixed: {epochs: 9}
search: {learning_rate: {choice: [0.9, 0.1, 0.8, 0.2]}}
early_stopping: {kind: asha, grace_epochs: 1, caution: 0}
"""


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def campaign_of(root, heard, *, text=FILE, budget=None, clock=None, usage=None):
    experiment = parse_experiment(text, source="small.yaml")
    Ledger(root.child("experiments/small")).open_experiment(experiment)
    ledger = Ledger(root.child("experiments/small"))
    source = ConfigurationSource(experiment, root=root, known=ledger.configurations())
    meter = Meter(budget or Budget(), usage=usage, now=clock or Clock())
    limits = limits_of(experiment, meter=meter)
    return Campaign(source, ledger=ledger, listener=heard, limits=limits)


def report(epoch, score):
    return EpochReport(
        epoch=epoch,
        score=score,
        loss=1 - score,
        train_loss=1 - score,
        per_label={},
        seconds=0.0,
        frames_per_s=0.0,
        learning_rate=0.1,
    )


def play(campaign, run):
    """Train a run with its learning rate as its score; returns how far it came."""
    score = run.trial.learning_rate
    campaign.begin(run)
    if campaign.is_condemned(run):
        campaign.stop(run)
        return 0
    for epoch in range(1, run.trial.epochs + 1):
        if campaign.report(run, report(epoch, score)) and epoch < run.trial.epochs:
            campaign.stop(run)
            return epoch
    campaign.finish(run, result_of(score))
    return run.trial.epochs


def play_all(campaign):
    return [
        (run.trial.learning_rate, run.trial.fold, play(campaign, run))
        for run in iter(campaign.next_run, None)
    ]


def test_a_configuration_that_is_given_up_gets_no_further_folds(root, heard):
    assert play_all(campaign_of(root, heard)) == [
        # Three run all folds to the first rung: what is a lead on one of them worth?
        *[(rate, fold, 1) for rate in (0.9, 0.1, 0.8) for fold in (1, 2, 3)],
        (0.2, 1, 1),
        # The better half of four climbs, then the leader is trained whole.
        (0.9, 1, 3), (0.8, 1, 3),
        (0.9, 1, 9), (0.9, 2, 9), (0.9, 3, 9),
    ]  # fmt: skip
    ledger = Ledger(root.child("experiments/small"))
    stopped = {one.config_id for one in ledger.stops()}
    assert len(stopped) >= 2
    assert [one.config_id for one in heard.of("configuration_stopped")] == [
        one.config_id for one in sorted(ledger.stops(), key=lambda one: one.at)
    ]
    assert {one.status for one in ledger.trials() if one.config_id in stopped} == {"paused"}
    whole = [one for one in ledger.trials() if one.status == "finished"]
    assert [[point.epoch for point in one.curve] for one in whole] == [list(range(1, 10))] * 3


def come_to_the_first_rung(campaign, runs, *, scores):
    """Train trials at the same time for an epoch; one that may go on at once does so."""
    for run in runs:
        campaign.begin(run)
    for run in runs:
        if campaign.report(run, report(1, scores[run.trial.learning_rate])):
            campaign.stop(run)


def test_nobody_is_given_up_before_all_have_come_as_far(root, heard):
    scores = {rate: rate for rate in (0.9, 0.1, 0.8, 0.2)}
    campaign = campaign_of(root, heard)
    runs = [campaign.next_run() for _ in range(10)]
    assert {run.until for run in runs} == {1}
    come_to_the_first_rung(campaign, runs[1:], scores=scores)
    assert not heard.of("configuration_stopped")
    early = campaign.next_run()
    assert (early.trial.learning_rate, early.until) == (0.8, 3), "no slot need be idle"
    late = runs[0]
    come_to_the_first_rung(campaign, [late], scores=scores)
    assert (late.trial.learning_rate, late.until) == (0.9, 3)
    assert campaign.next_run() is None
    assert len(heard.of("configuration_stopped")) == 2


def test_a_trial_that_was_overtaken_while_it_waited_for_resources_does_not_begin(root, heard):
    campaign = campaign_of(root, heard)
    runs = [campaign.next_run() for _ in range(10)]
    scores = {0.9: 0.9, 0.1: 0.85, 0.8: 0.86, 0.2: 0.2}
    worse = [run for run in runs if run.trial.learning_rate in (0.2, 0.1)]
    come_to_the_first_rung(campaign, worse, scores=scores)
    early = campaign.next_run()
    assert early.trial.learning_rate == 0.1
    better = [run for run in runs if run not in worse]
    come_to_the_first_rung(campaign, better, scores=scores)
    begun = len(heard.of("trial_started"))
    campaign.begin(early)
    assert campaign.is_condemned(early)
    campaign.stop(early)
    assert len(heard.of("trial_started")) == begun
    assert early.progress.stopped


def test_configurations_climb_in_cohorts(root, heard, monkeypatch):
    monkeypatch.setattr("aufleet.tuning.campaign.COHORT", 2)
    played = play_all(campaign_of(root, heard))
    opened = list(dict.fromkeys(rate for rate, _, _ in played))
    assert opened == [0.9, 0.1, 0.8, 0.2]
    first_whole = played.index((0.9, 3, 9))
    assert first_whole < played.index((0.8, 1, 1)), "the second pair begins when the first is done"


def test_a_budget_of_trials_is_enough_for_one_whole_configuration(root, heard):
    for trials in range(1, 12):
        name = root.child(f"budget-{trials}")
        campaign = campaign_of(name, heard, budget=Budget(trials=trials))
        played = play_all(campaign)
        assert len({(rate, fold) for rate, fold, _ in played}) <= trials
        board = read_leaderboard(name.child("experiments/small"))
        assert (board.winner is not None) == (trials >= 3)


def test_what_was_given_up_stays_so_after_a_restart(root, heard):
    play_all(campaign_of(root, heard))
    ledger = Ledger(root.child("experiments/small"))
    before = ledger.stops()
    again = campaign_of(root, heard)
    assert again.next_run() is None
    assert not again.is_waiting
    assert Ledger(root.child("experiments/small")).stops() == before


def test_a_restart_in_the_middle_knows_the_rungs(root, heard):
    first = campaign_of(root, heard)
    runs = [first.next_run() for _ in range(10)]
    for run in runs:
        play(first, run)
    run = first.next_run()
    first.begin(run)
    for epoch in (2, 3):
        first.report(run, report(epoch, 0.9))
    # Killed here. The rung is known, so the other one climbs before this one goes on.
    again = campaign_of(root, heard)
    other = again.next_run()
    assert (run.trial.learning_rate, other.trial.learning_rate) == (0.9, 0.8)
    rungs = Ledger(root.child("experiments/small")).rungs()
    assert (0.9, 3) in {(one.score, one.epoch) for one in rungs}
    again.begin(other)
    assert not again.report(other, report(2, 0.95))
    assert again.report(other, report(3, 0.95)), "it pauses"
    again.report(other, report(3, 0.95))
    assert len(Ledger(root.child("experiments/small")).rungs()) == len(rungs) + 1, "told again"


def test_a_budget_of_trials_lets_what_has_begun_end(root, heard):
    text = FILE.replace("kind: asha, grace_epochs: 1, caution: 0", "kind: none")
    campaign = campaign_of(root, heard, text=text, budget=Budget(trials=4))
    assert len(play_all(campaign)) == 4
    assert campaign.budget_spent == "the budget of 4 trials"
    assert not campaign.is_waiting
    assert len(Ledger(root.child("experiments/small")).configurations()) == 2
    again = campaign_of(root, heard, text=text, budget=Budget(trials=4))
    assert again.next_run() is None
    larger = campaign_of(root, heard, text=text, budget=Budget(trials=7))
    assert len(play_all(larger)) == 3


def test_hours_pause_what_runs_and_more_of_them_continue_it(root, heard):
    clock, usage = Clock(), {}
    text = FILE.replace("grace_epochs: 1", "grace_epochs: 3")
    campaign = campaign_of(root, heard, text=text, budget=Budget(hours=1), clock=clock, usage=usage)
    run = campaign.next_run()
    campaign.begin(run)
    assert not campaign.report(run, report(1, 0.5))
    clock.now_s = 3600.0
    assert campaign.report(run, report(2, 0.5))
    campaign.stop(run)
    assert campaign.next_run() is None
    assert not campaign.is_waiting
    [record] = Ledger(root.child("experiments/small")).trials()
    assert (record.status, record.held_s, len(record.curve)) == ("paused", 3600.0, 2)
    assert record.reason == "the budget of 1 hours ended; it can go on"

    again = campaign_of(root, heard, text=text, budget=Budget(hours=2), clock=clock, usage=usage)
    run = again.next_run()
    assert (run.name, run.attempt) == (record.trial_id, 2)


def test_gpu_hours_are_those_of_all_ranks():
    clock, usage = Clock(), {"gpu_seconds": 1800.0}
    meter = Meter(Budget(gpu_hours=1), usage=usage, now=clock)
    meter.start("a", cpus=4, gpus=2)
    clock.now_s = 600.0
    assert not meter.is_time_up()
    assert meter.end("a") == 600.0
    meter.start("b", cpus=4, gpus=2)
    clock.now_s = 900.0
    assert meter.is_time_up() == "the budget of 1 GPU hours"
    assert meter.gpu_hours == pytest.approx(1.0)
    assert usage["gpu_seconds"] == pytest.approx(3600.0)


def test_winners_are_trained_on_shuffled_labels_when_all_else_has_ended(root, heard):
    text = FILE.replace(
        "early_stopping: {kind: asha, grace_epochs: 1, caution: 0}", "control: true"
    )
    text = text.replace("[algrnet]", "[algrnet, resnet18]").replace(
        "0.9, 0.1, 0.8, 0.2", "0.1, 0.9"
    )
    campaign = campaign_of(root, heard, text=text)
    first = [campaign.next_run() for _ in range(12)]
    for run in first[:-1]:
        play(campaign, run)
    assert campaign.next_run() is None, "one still runs, and may win"
    play(campaign, first[-1])
    controls = [campaign.next_run()]
    play(campaign, controls[0])
    controls.append(campaign.next_run())
    assert campaign.next_run() is None
    for run in controls:
        assert run.trial.shuffle_labels
        assert (run.trial.learning_rate, run.trial.fold) == (0.9, 1)
    assert {run.trial.model for run in controls} == {"algrnet", "resnet18"}
    again = campaign_of(root, heard, text=text)
    assert again.next_run().name == controls[1].name, "the other has ended"
    board = read_leaderboard(root.child("experiments/small"))
    assert len(board.rows) == 4
