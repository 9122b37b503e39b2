"""Driver time, memory and objects written for many trials that do nothing.

    .venv/bin/python tests/benchmarks/search_scale.py --trials 100 1000 10000

Each size is a search of its own, in a process of its own, with early stopping on: one epoch and
three folds a configuration. Printed per trial: CPU time of the driver's process, and objects of the
ledger; and the largest memory of the driver. Ratios are to the first size.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `searching`


def measure(num_trials: int) -> dict[str, float]:
    """Run one search in this process."""
    from searching.toys import toy_test, toy_trial

    from aufleet.cli.ray_session import ray_session
    from aufleet.storage import open_store
    from aufleet.tuning.experiment import parse_experiment
    from aufleet.tuning.search import run_search

    configurations = num_trials // 3
    text = json.dumps(
        {
            "name": "scale",
            "task": "au",
            "dataset": "s3://nowhere/faces/1",
            "models": ["algrnet"],
            "fixed": {"epochs": 1},
            "search": {"learning_rate": {"uniform": [0.01, 0.9]}},
            "sampler": {"kind": "random", "configurations": configurations},
            "early_stopping": {"kind": "median", "grace_epochs": 9},
        }
    )
    with tempfile.TemporaryDirectory() as folder, ray_session(num_cpus=2):
        root = open_store(folder)
        began, cpu = time.monotonic(), time.process_time()
        run_search(
            parse_experiment(text, source="scale"),
            root=root,
            run_trial=toy_trial(),
            score_test=toy_test(),
        )
        cpu, wall = time.process_time() - cpu, time.monotonic() - began
        keys = root.child("experiments/scale").keys("")
        ours = [key for key in keys if not key.startswith("trials/")]
        ended = sum(key.startswith("ledger/trials/") for key in keys)
    return {
        "trials": ended,
        "cpu_ms_per_trial": 1000 * cpu / ended,
        "wall_ms_per_trial": 1000 * wall / ended,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "objects_per_trial": len(ours) / ended,
    }


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    first: dict[str, float] = {}
    for size in options.trials:
        command = [sys.executable, __file__, "--one", str(size)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        first = first or found
        ratio = found["cpu_ms_per_trial"] / first["cpu_ms_per_trial"]
        print(
            f"{found['trials']:6.0f} trials  {found['cpu_ms_per_trial']:6.1f} ms CPU each "
            f"({ratio:.2f} x)  {found['wall_ms_per_trial']:6.1f} ms  "
            f"{found['memory_mib']:6.0f} MiB  {found['objects_per_trial']:.2f} objects each",
            flush=True,
        )


if __name__ == "__main__":
    main()
