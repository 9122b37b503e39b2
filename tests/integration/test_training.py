"""Trials on a published data set with a network of the catalog: by the verb, and on two ranks."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from painted import UNITS, publish_painted
from safetensors.torch import load

from aufleet.storage import Store, open_store
from aufleet.training import EpochReport, Ranks, TrialConfig, run_trial, score_test
from aufleet.training.evaluation import evaluate
from aufleet.training.fold_data import open_fold
from aufleet.training.trial import build_network
from aufleet.training.watchdog import STALLED
from aufleet_models.contract import FaceModel


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return publish_painted(open_store(str(tmp_path_factory.mktemp("root"))))


def _settings(dataset: str, **others: object) -> dict:
    # 27 training frames in fold 2: the last batch has 3, so that two ranks have 2 and 1.
    small = {"model": "resnet18", "width": 0.0625, "fold": 2, "epochs": 2, "batch": 8}
    return small | {"dataset": dataset, "learning_rate": 0.05} | others


def _trained(config: TrialConfig, store: Store, checkpoint: str) -> FaceModel:
    network = build_network(config, open_fold(config).units)
    network.load_state_dict(load(store.read(f"{checkpoint}/model.safetensors")))
    return network.eval()


def _last(store: Store) -> str:
    keys = store.keys("attempt")
    return max(key.rpartition("/")[0] for key in keys if key.endswith("checkpoint.json"))


@pytest.mark.parametrize("task", ["au", "palsy"])
def test_a_network_of_the_catalog_learns_and_is_scored_once(
    dataset: str, tmp_path: Path, task: str
) -> None:
    config = TrialConfig.from_settings(_settings(dataset, task=task, epochs=16, decay_epochs=8))
    store = open_store(str(tmp_path))
    result = run_trial(config, store=store, report=lambda report: True)
    assert result.score > sum(result.constant.values()) / len(result.constant) + 0.1
    score = score_test(config, store=store, checkpoint=result.checkpoint)
    assert score.num_frames == 18
    rows = load(store.read(f"{result.checkpoint}/validation.safetensors"))
    assert rows["probabilities"].shape == (18, 2 if task == "au" else 4)


RANK_PROGRAM = """
import json, sys
from aufleet.storage import open_store
from aufleet.training import TrialConfig, join_ranks, run_trial
rank, address, jobs = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
ranks = join_ranks(rank=rank, size=2, address=address)
for job in jobs:
    left = job["epochs"]
    def report(epoch):
        global left
        left -= 1
        return left > 0
    config = TrialConfig.from_settings(job["settings"])
    result = run_trial(config, store=open_store(job["store"]), report=report, ranks=ranks)
    print(json.dumps({"score": result.score, "checkpoint": result.checkpoint}), flush=True)
"""


def _start_two_ranks(jobs: list[dict], *, meeting: Path) -> list[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "ignore", "-c", RANK_PROGRAM]
    return [
        subprocess.Popen(
            [*command, str(rank), f"file://{meeting}", json.dumps(jobs)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]


def _run_on_two_ranks(jobs: list[dict], *, meeting: Path) -> list[list[dict]]:
    """Return what each rank printed; both do all jobs in one process group."""
    ranks = _start_two_ranks(jobs, meeting=meeting)
    outputs = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    return [[json.loads(line) for line in output.splitlines()] for output in outputs]


def test_two_ranks_resume_bit_for_bit_and_score_as_one(dataset: str, tmp_path: Path) -> None:
    jobs, configs = [], {}
    for stage in (0, 2, 3):
        settings = _settings(dataset, ranks=2, zero_stage=stage)
        configs[stage] = TrialConfig.from_settings(settings)
        for name, epochs in (("whole", 2), ("broken", 1), ("broken", 2)):
            store = str(tmp_path / f"{name}-{stage}")
            jobs.append({"settings": settings, "store": store, "epochs": epochs})
    first, second = _run_on_two_ranks(jobs, meeting=tmp_path / "meeting")
    assert first == second

    weights = set()
    for stage, config in configs.items():
        whole, broken = (open_store(str(tmp_path / f"{n}-{stage}")) for n in ("whole", "broken"))
        key = _last(whole)
        for name in ("model", "optimizer"):
            data = whole.read(f"{key}/{name}.safetensors")
            assert data == broken.read(f"{_last(broken)}/{name}.safetensors")
        weights.add(whole.read(f"{key}/model.safetensors"))

        alone = Ranks(rank=0, size=1)
        fold = open_fold(config)
        loader = fold.validation(frame_size=176, ranks=alone)
        predictions = evaluate(_trained(config, whole, key), loader, ranks=alone)
        shared = load(whole.read(f"{key}/validation.safetensors"))
        assert shared["index"].tolist() == predictions.index.tolist()
        assert np.allclose(shared["probabilities"], predictions.probabilities, atol=1e-6)
        reported = json.loads(whole.read(f"{key}/checkpoint.json"))["reports"][-1]["score"]
        assert reported == predictions.score(UNITS).macro_f1
    assert len(weights) == 1  # every ZeRO stage computes the same


def test_a_trial_goes_on_with_another_number_of_ranks(dataset: str, tmp_path: Path) -> None:
    two = _settings(dataset, ranks=2, zero_stage=2, epochs=3)
    job = {"settings": two, "store": str(tmp_path / "trial"), "epochs": 1}
    _run_on_two_ranks([job], meeting=tmp_path / "first")
    told: list[int] = []

    def report(epoch: EpochReport) -> bool:
        told.append(epoch.epoch)
        return False

    one = TrialConfig.from_settings(two | {"ranks": 1, "zero_stage": 0})
    run_trial(one, store=open_store(job["store"]), report=report)
    assert told == [2]
    (first, *_), _ = _run_on_two_ranks([job | {"epochs": 3}], meeting=tmp_path / "second")
    whole = TrialConfig.from_settings(two)
    result = run_trial(one, store=open_store(job["store"]), report=report)
    assert [epoch.epoch for epoch in result.epochs] == [1, 2, 3]
    assert (result.score, told) == (first["score"], [2])
    assert whole.config_id != one.config_id  # their numbers are not the same to the bit


def test_a_rank_that_hangs_ends_the_others_and_the_trial_goes_on(
    dataset: str, tmp_path: Path
) -> None:
    settings = _settings(dataset, ranks=2, epochs=500, stall_s=15)
    store = tmp_path / "trial"
    jobs = [{"settings": settings, "store": str(store), "epochs": 500}]
    first, second = _start_two_ranks(jobs, meeting=tmp_path / "meeting")
    deadline = time.monotonic() + 120
    while not list(store.rglob("checkpoint.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    second.send_signal(signal.SIGSTOP)
    try:
        _, said = first.communicate(timeout=120)
    finally:
        for rank in (first, second):  # as Ray does, once the trial's own actor is gone
            rank.kill()
        second.communicate(timeout=30)
    assert first.returncode == STALLED
    assert "no progress for" in said
    assert "loop.py" in said  # where it waited

    reached = max(int(one.parent.name[-4:]) for one in store.rglob("checkpoint.json"))
    jobs[0]["epochs"] = 1
    _run_on_two_ranks(jobs, meeting=tmp_path / "again")
    assert (store / f"attempt-002/checkpoint-{reached + 1:04d}/checkpoint.json").exists()


def _train_verb(dataset: str, out: Path, *more: str) -> list[str]:
    sets = [f"{k}={v}" for k, v in (("width", 0.0625), ("batch", 8))]
    return [
        *(sys.executable, "-m", "aufleet.cli", "train", "--dataset", dataset, "--out", str(out)),
        *("--model", "resnet18", "--fold", "2", "--epochs", "12", "--set", sets[0]),
        *("--set", sets[1], *more),
    ]


def test_ctrl_c_ends_the_verb_and_the_same_command_goes_on(dataset: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        _train_verb(dataset, tmp_path), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as verb:
        deadline = time.monotonic() + 120
        while not list(tmp_path.rglob("checkpoint.json")) and time.monotonic() < deadline:
            time.sleep(0.1)
        verb.send_signal(signal.SIGINT)
        _, said = verb.communicate(timeout=60)
    assert verb.returncode == 130
    assert said == "stopped; the same command goes on from the last whole epoch\n"

    done = subprocess.run(
        _train_verb(dataset, tmp_path, "--json"), capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout)
    assert [epoch["epoch"] for epoch in result["epochs"]] == list(range(1, 13))
    assert open_store(result["store"]).keys("attempt-002/")


def test_a_misspelt_setting_is_one_line(dataset: str, tmp_path: Path) -> None:
    done = subprocess.run(
        _train_verb(dataset, tmp_path, "--set", "momentun=0.8"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "error unknown setting 'momentun': did you mean 'momentum'?\n"
