"""A real search on a real Ray, with trials that do next to nothing."""

import configparser
import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from ray._private import worker

from aufleet.cli.ray_session import ray_session
from aufleet.errors import ConfigError, TrainingError
from aufleet.storage import open_store
from aufleet.tuning.experiment import parse_experiment
from aufleet.tuning.search import run_search
from aufleet.tuning.tracking import MlflowTracker

pytestmark = pytest.mark.ray

EXPERIMENT = """
name: toy
task: au
dataset: s3://nowhere/faces/1
models: [algrnet]
fixed: {epochs: 2}
search: {learning_rate: {choice: [0.1, 0.2]}}
"""


ONE_TRIAL = EXPERIMENT.replace("choice: [0.1, 0.2]", "choice: [0.1]") + "folds: [3]\n"


@pytest.fixture(scope="module", autouse=True)
def ray(s3_server):
    """One Ray for all tests, started where the credentials file is known, as `aufleet` does."""
    with ray_session(num_cpus=2):
        yield


@pytest.fixture
def root(tmp_path):
    return open_store(str(tmp_path))


def toy_trial(*, on_start=lambda config, store: None):
    """Return a trial whose score is its learning rate; each call leaves an object in the store."""

    def run_trial(config, *, store, report, ranks=None):
        import os
        import time

        import torch

        from aufleet.training.results import EpochReport, TrialResult

        size = 1 if ranks is None else int(ranks.sum(torch.ones(1)))
        if ranks is None or ranks.is_first:
            store.write_new(f"ran-{time.time_ns()}", f"{os.getpid()} {size}".encode())
        on_start(config, store)
        score = config.learning_rate + config.fold / 1000
        epochs = [
            EpochReport(
                epoch=epoch,
                score=score,
                loss=1.0,
                train_loss=1.0,
                per_label={"AU1": score},
                seconds=0.0,
                frames_per_s=1.0,
                learning_rate=0.1,
            )
            for epoch in range(1, config.epochs + 1)
        ]
        if ranks is None or ranks.is_first:
            for one in epochs:
                if not report(one):
                    break
        return TrialResult(
            best_epoch=1,
            score=score,
            loss=1.0,
            per_label={"AU1": score},
            constant={"AU1": 0.05},
            checkpoint=f"checkpoint-of-fold{config.fold}",
            epochs=tuple(epochs),
            seconds=0.0,
        )

    return run_trial


def toy_test():
    def score_test(config, *, store, checkpoint):
        from aufleet.training.results import TestScore

        store.write_new("test-part", checkpoint.encode())
        return TestScore(
            score=config.learning_rate / 2,
            loss=1.0,
            per_label={"AU1": 0.1},
            constant={"AU1": 0.05},
            num_frames=7,
            checkpoint=checkpoint,
            predictions="",
        )

    return score_test


def search(root, *, text=EXPERIMENT, run_trial=None, listeners=()):
    return run_search(
        parse_experiment(text, source="toy.yaml"),
        root=root,
        listeners=listeners,
        run_trial=run_trial or toy_trial(),
        score_test=toy_test(),
    )


def runs(root) -> dict[str, list[str]]:
    """Return trial -> what each of its runs wrote: process and number of ranks."""
    store, found = root.child("experiments/toy/trials"), {}
    for key in store.keys(""):
        trial, _, name = key.rpartition("/")
        if name.startswith("ran-"):
            found.setdefault(trial, []).append(store.read(key).decode())
    return found


class Interrupt:
    """A listener that ends the driver's work after some trials."""

    def __init__(self, after):
        self.left = after

    def __getattr__(self, name):
        return lambda *arguments, **named: None

    def trial_ended(self, trial, record):
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("the driver fell over")


class CommandLines:
    """A listener that reads the command line of every process while trials run."""

    def __init__(self):
        self.seen: set[bytes] = set()

    def __getattr__(self, name):
        return lambda *arguments, **named: self.look()

    def look(self):
        for one in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                self.seen.add(one.read_bytes())


def secret_of(credentials: Path) -> str:
    parser = configparser.ConfigParser()
    parser.read(credentials)
    return parser[parser.sections()[0]]["aws_secret_access_key"]


def test_a_search_runs_every_trial_once_and_ranks_configurations(root):
    board = search(root)
    assert [(row.hyperparameters["learning_rate"], row.status) for row in board.rows] == [
        (0.2, "finished"),
        (0.1, "finished"),
    ]
    assert board.winner.validation.folds == pytest.approx({1: 0.201, 2: 0.202, 3: 0.203})
    assert board.winner.test.folds == pytest.approx({1: 0.1, 2: 0.1, 3: 0.1})
    assert board.rows[1].test is None
    ran = runs(root)
    assert len(ran) == 6
    assert all(len(one) == 1 for one in ran.values())
    processes = Counter(what for one in ran.values() for what in one)
    assert len(processes) <= 2, "actors are reused"


def test_a_search_that_ended_runs_nothing_again(root):
    first = search(root)
    before = runs(root)
    started = time.monotonic()
    assert search(root).to_plain() == first.to_plain()
    assert runs(root) == before
    assert time.monotonic() - started < 20


def test_an_interrupted_search_goes_on_where_it_ended(root):
    with pytest.raises(RuntimeError, match="fell over"):
        search(root, listeners=[Interrupt(after=2)])
    board = search(root)
    assert [row.status for row in board.rows] == ["finished", "finished"]
    ledger = root.child("experiments/toy/ledger/trials").keys()
    assert len(ledger) == 6
    # The second driver's fencing number stands in what it wrote.
    assert {key.rpartition("/")[2] for key in ledger} == {"001.f000001.json", "001.f000002.json"}


def test_a_fold_that_cannot_be_trained_fails_its_configuration_with_the_reason(root):
    def on_start(config, store):
        from aufleet.errors import NonFiniteLossError

        if config.learning_rate == 0.2 and config.fold == 2:
            raise NonFiniteLossError("the loss is not finite at epoch 1, step 3")

    board = search(root, run_trial=toy_trial(on_start=on_start))
    assert [(row.hyperparameters["learning_rate"], row.status) for row in board.rows] == [
        (0.1, "finished"),
        (0.2, "failed"),
    ]
    assert board.rows[1].reason == "the loss is not finite at epoch 1, step 3"


def test_a_trial_whose_process_dies_is_tried_again(root):
    def on_start(config, store):
        import os

        if len(store.keys("ran-")) == 1:
            os._exit(1)

    board = search(root, text=ONE_TRIAL, run_trial=toy_trial(on_start=on_start))
    assert [row.status for row in board.rows] == ["finished"]
    assert [len(one) for one in runs(root).values()] == [2]


def test_a_search_in_which_everything_fails_is_one_sentence(root):
    def on_start(config, store):
        from aufleet.errors import DataError

        raise DataError("partition F001 is damaged")

    with pytest.raises(TrainingError, match=r"every configuration failed: partition F001 is"):
        search(root, text=ONE_TRIAL, run_trial=toy_trial(on_start=on_start))


def test_trials_of_one_and_of_two_ranks_mix_in_one_search(root):
    text = EXPERIMENT.replace("learning_rate: {choice: [0.1, 0.2]}", "ranks: {choice: [1, 2]}")
    text = text.replace("{epochs: 2}", "{epochs: 2, learning_rate: 0.1}") + "folds: [1, 2]\n"
    board = search(root, text=text)
    assert [row.status for row in board.rows] == ["finished", "finished"]
    sizes = Counter(what.split()[1] for one in runs(root).values() for what in one)
    assert sizes == {"1": 2, "2": 2}


def test_the_token_of_ray_is_random_and_on():
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


@pytest.mark.s3
def test_the_secret_of_the_store_is_found_nowhere(s3_server, s3_store, home):
    """The store's own random secret is the canary."""
    secret = secret_of(Path(s3_server.credentials_file)).encode()
    places = CommandLines()
    tracker = MlflowTracker("toy", store=s3_store.child("experiments/toy"))
    search(s3_store, listeners=[places, tracker])
    found = [key for key in s3_store.keys("") if secret in s3_store.read(key)]
    folders = [home, Path(worker._global_node.get_session_dir_path())]
    files = [one for folder in folders for one in folder.rglob("*") if one.is_file()]
    found += [str(one) for one in files if secret in one.read_bytes()]
    found += [line for line in places.seen if secret in line]
    assert found == []
    names = {one.name for one in files}
    assert {"mlflow.db", "runtime_env_agent.log", "gcs_server.out"} <= names, "the places exist"
    assert any(b"ray::" in line for line in places.seen)


def test_a_secret_in_the_environment_is_refused_before_ray_starts(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    with (
        pytest.raises(ConfigError, match="AWS_SECRET_ACCESS_KEY is set") as caught,
        ray_session(),
    ):
        pass
    assert "canary" not in str(caught.value)
    assert "AWS_SHARED_CREDENTIALS_FILE" in str(caught.value)
