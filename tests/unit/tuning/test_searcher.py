"""The searcher, driven as Tune drives it."""

import itertools

import pytest

from aufleet.training.results import TestScore
from aufleet.tuning.campaign import Campaign, Limits
from aufleet.tuning.experiment import parse_experiment
from aufleet.tuning.final_scores import FinalScores
from aufleet.tuning.grid import ConfigurationSource
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.runs import Failure
from aufleet.tuning.searcher import (
    CHECKPOINT,
    OUTCOME,
    TEST_SCORE,
    TRIAL,
    TRIAL_RESULT,
    FoldSearcher,
)

from .conftest import result_of

FINISHED = FoldSearcher.FINISHED


class Driver:
    """Plays Tune: asks for trials under ids of its own, and ends them."""

    def __init__(self, experiment, root, heard, **settings):
        self.ledger = Ledger(root.child("experiments/small"))
        source = ConfigurationSource(experiment, root=root, known=self.ledger.configurations())
        scores = FinalScores(self.ledger, folds=experiment.folds, listener=heard)
        self.scores = scores
        campaign = Campaign(source, ledger=self.ledger, listener=heard, limits=Limits(**settings))
        self.searcher = FoldSearcher(campaign, final_scores=scores)
        self._ids = (f"tune-{number}" for number in itertools.count())
        self.names: dict[str, tuple[float, int]] = {}

    def ask(self):
        trial_id = next(self._ids)
        answer = self.searcher.suggest(trial_id)
        if not isinstance(answer, dict):
            return answer
        self.names[trial_id] = (answer[TRIAL]["learning_rate"], answer[TRIAL]["fold"])
        self.kind = CHECKPOINT if CHECKPOINT in answer else TRIAL
        return trial_id

    def finish(self, trial_id, score=0.5):
        outcome = TRIAL_RESULT.dump_json(result_of(score)).decode()
        self.searcher.on_trial_complete(trial_id, result={OUTCOME: outcome, "done": True})

    def finish_test(self, trial_id, score=0.4):
        test = TestScore(
            score=score,
            loss=1,
            per_label={},
            constant={},
            num_frames=3,
            checkpoint="c",
            predictions="",
        )
        outcome = TEST_SCORE.dump_json(test).decode()
        self.searcher.on_trial_complete(trial_id, result={OUTCOME: outcome})

    def fail(self, trial_id, *, final=False, lost=False):
        failure = Failure(reason="it broke", is_final=final, is_lost=lost)
        self.searcher.note_error(trial_id, failure)
        self.searcher.on_trial_complete(trial_id, error=True)

    def finish_all_trials(self, score=0.5):
        """Finish trial after trial until the first test part is handed out; return its id."""
        while (trial_id := self.ask()) not in (FINISHED, None):
            if self.kind == CHECKPOINT:
                return trial_id
            self.finish(trial_id, score)
        return None


@pytest.fixture
def driver(experiment, root, heard):
    return Driver(experiment, root, heard)


def test_folds_come_before_the_next_configuration(driver):
    ids = [driver.ask() for _ in range(6)]
    assert [driver.names[one] for one in ids] == [
        (0.1, 1), (0.1, 2), (0.1, 3), (0.2, 1), (0.2, 2), (0.2, 3),
    ]  # fmt: skip


def test_it_waits_while_a_trial_lives_and_ends_after_the_test_parts(driver):
    *first, last = [driver.ask() for _ in range(6)]
    for one in first:
        driver.finish(one)
    assert driver.ask() is None
    driver.finish(last)
    tests = [driver.ask() for _ in range(3)]
    assert driver.kind == CHECKPOINT
    assert driver.ask() is None
    for one in tests:
        driver.finish_test(one)
    assert driver.ask() == FINISHED
    assert [one.fold for one in driver.ledger.tests()] == [1, 2, 3]


def test_the_winner_alone_is_scored_on_the_test_parts(driver):
    for _ in range(6):
        trial_id = driver.ask()
        driver.finish(trial_id, score=driver.names[trial_id][0])
    assert {driver.names[driver.ask()][0] for _ in range(3)} == {0.2}


def test_nodes_that_are_lost_use_up_no_attempts(driver):
    for _ in range(4):
        driver.fail(driver.ask(), lost=True)
    driver.fail(driver.ask())
    driver.finish(driver.ask())
    states = [one.status for one in driver.ledger.trials()]
    assert states == ["lost"] * 4 + ["crashed", "finished"]


def test_a_trial_that_loses_every_node_fails_in_the_end(driver):
    for _ in range(5):
        driver.fail(driver.ask(), lost=True)
    assert driver.ledger.trials()[-1].status == "failed"


def test_a_crashed_fold_is_tried_again_as_a_new_attempt(driver):
    crashed = driver.ask()
    driver.fail(crashed)
    again = driver.ask()
    assert driver.names[again] == driver.names[crashed]
    driver.finish(again)
    assert [(one.attempt, one.status) for one in driver.ledger.trials()] == [
        (1, "crashed"),
        (2, "finished"),
    ]


def test_a_fold_that_crashes_twice_fails_its_configuration(driver):
    driver.fail(driver.ask())
    sibling = driver.ask(), driver.ask()
    assert driver.names[sibling[0]] == (0.1, 1)
    driver.fail(sibling[0])
    assert driver.searcher.begin(sibling[1]), "it stops before it trains"
    assert driver.names[driver.ask()] == (0.2, 1)
    assert [one.reason for one in driver.ledger.trials()] == ["it broke", "it broke"]


def test_an_error_that_will_come_again_fails_at_once(driver):
    driver.fail(driver.ask(), final=True)
    assert driver.names[driver.ask()] == (0.2, 1)


def test_a_condemned_fold_that_is_stopped_leaves_no_record(driver):
    first, second = driver.ask(), driver.ask()
    driver.fail(first, final=True)
    driver.searcher.on_trial_complete(second, result={"score": 0.1, "done": True})
    assert [one.fold for one in driver.ledger.trials()] == [1]


def test_nothing_finished_runs_again(driver, experiment, root, heard):
    for _ in range(4):
        driver.finish(driver.ask())
    again = Driver(experiment, root, heard)
    ids = [again.ask(), again.ask()]
    assert [again.names[one] for one in ids] == [(0.2, 2), (0.2, 3)]
    assert again.ask() is None


def test_after_everything_ended_nothing_is_handed_out(driver, experiment, root, heard):
    test = driver.finish_all_trials()
    driver.finish_test(test)
    for _ in range(2):
        driver.finish_test(driver.ask())
    assert Driver(experiment, root, heard).ask() == FINISHED


def test_a_test_part_that_was_scored_is_not_scored_again(driver, experiment, root, heard):
    driver.finish_test(driver.finish_all_trials())
    again = Driver(experiment, root, heard)
    ids = [again.ask(), again.ask()]
    assert [again.names[one][1] for one in ids] == [2, 3]


def test_a_failed_configuration_stays_failed_unless_asked(driver, experiment, root, heard):
    driver.fail(driver.ask(), final=True)
    again = Driver(experiment, root, heard)
    assert again.names[again.ask()] == (0.2, 1)
    retried = Driver(experiment, root, heard, retry_failed=True)
    trial_id = retried.ask()
    assert retried.names[trial_id] == (0.1, 1)
    retried.finish(trial_id)
    assert [(one.attempt, one.status) for one in retried.ledger.trials()] == [
        (1, "failed"),
        (2, "finished"),
    ]


def test_a_test_part_that_cannot_be_scored_is_told(driver):
    driver.fail(driver.finish_all_trials(), final=True)
    assert driver.scores.errors[0].endswith("fold1: it broke")


def test_a_listener_hears_how_each_trial_ends(driver, heard):
    driver.finish(driver.ask(), 0.7)
    driver.fail(driver.ask())
    assert [one.status for one in heard.of("trial_ended")] == ["finished", "crashed"]


CHAIN = """
name: chain
task: au
dataset: faces/1
models: [resnet18]
folds: [1, 2]
rows:
  first: {settings: {width: 0.5}}
  second: {settings: {initialize_from: {uri: "rows/first/fold{fold}"}}}
  third: {settings: {initialize_from: {uri: "rows/second/fold{fold}"}, seed: 1}}
"""


@pytest.fixture
def chain(root, heard):
    return Driver(parse_experiment(CHAIN, source="chain.yaml"), root, heard)


def _row_of(chain, trial_id):
    """Return the row and the fold of a trial that was handed out."""
    live = chain.searcher._live[trial_id]
    return live.progress.configuration.row, live.trial.fold


def test_a_row_waits_for_the_fold_that_it_starts_from(chain):
    one, two = chain.ask(), chain.ask()
    assert [_row_of(chain, one), _row_of(chain, two)] == [("first", 1), ("first", 2)]
    assert chain.ask() is None
    chain.finish(two)
    three = chain.ask()
    assert _row_of(chain, three) == ("second", 2)
    assert chain.ask() is None
    chain.finish(three)
    four = chain.ask()
    assert _row_of(chain, four) == ("third", 2)
    chain.finish(one)
    assert _row_of(chain, chain.ask()) == ("second", 1)


def test_rows_below_a_row_that_failed_fail_with_the_reason_and_nothing_waits_for_ever(chain):
    chain.fail(chain.ask(), final=True)
    assert chain.ask() is FINISHED
    records = {(one.row, one.fold): one for one in chain.ledger.trials()}
    assert {row for row, _ in records} == {"first", "second", "third"}
    assert all(one.status == "failed" for one in records.values())
    assert "from which it starts, failed" in records["second", 1].reason


def test_a_fold_that_fails_after_its_successor_began_ends_the_search(chain):
    one, two = chain.ask(), chain.ask()
    chain.finish(one)
    three = chain.ask()
    assert _row_of(chain, three) == ("second", 1)
    chain.fail(two, final=True)
    chain.finish(three)
    assert {chain.ask() for _ in range(3)} == {FINISHED}


def test_a_chain_is_continued_where_it_was_left(chain, root, heard):
    one, two = chain.ask(), chain.ask()
    chain.finish(one)
    chain.finish(two)
    again = Driver(parse_experiment(CHAIN, source="chain.yaml"), root, heard)
    assert [_row_of(again, again.ask()) for _ in range(2)] == [("second", 1), ("second", 2)]
    assert [one.row for one in again.ledger.configurations()] == ["first", "second"]
