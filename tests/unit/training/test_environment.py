import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from aufleet.training.environment import seed_everything, trial_process


def test_a_trial_is_seeded_and_what_was_before_goes_on() -> None:
    before = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with trial_process(threads=1, seed=3):
            drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]
    assert torch.equal(torch.get_rng_state(), before)


def test_everything_is_put_back_when_a_trial_fails(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    linear, threads = torch.nn.functional.linear, torch.get_num_threads()
    with pytest.raises(RuntimeError, match="broken"):
        _change_everything(threads=threads + 1)
    assert torch.nn.functional.linear is linear
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert not torch.is_autocast_enabled("cpu")
    assert os.getcwd() == str(tmp_path)


def _change_everything(*, threads: int) -> None:
    with trial_process(threads=threads, seed=0):
        torch.nn.functional.linear = lambda *inputs: None
        torch.use_deterministic_algorithms(True)
        torch.set_default_dtype(torch.float64)
        torch.set_autocast_enabled("cpu", True)
        os.chdir("/")
        raise RuntimeError("broken")


def test_seeds_of_epochs_and_ranks_differ() -> None:
    drawn = set()
    for numbers in [(0, 1, 0), (0, 2, 0), (0, 1, 1), (1, 1, 0)]:
        seed_everything(*numbers)
        drawn.add(torch.rand(1).item())
    assert len(drawn) == 4


def test_deepspeed_comes_without_mlflow_and_without_a_compiler() -> None:
    code = (
        "import os, sys; os.environ['PATH'] = ''; "
        "from aufleet.training.environment import load_deepspeed; load_deepspeed(); "
        "assert 'mlflow' not in sys.modules; import mlflow.version"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
