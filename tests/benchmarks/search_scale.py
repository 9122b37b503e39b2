"""Driver time, memory and objects written for many trials that do nothing.

    .venv/bin/python tests/benchmarks/search_scale.py --trials 100 1000 10000

Each size is a search of its own, in a process of its own that has run a small search before: three
folds a configuration, one epoch each, or three with `--stopping asha`, where many are given up.
Printed per trial that began: CPU time of the driver's process, and objects of the ledger; and the
largest memory of the driver. The program fails where the last size takes more than 1.5 times the
CPU time of the first.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aufleet.storage import Store

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `searching`

EPOCHS = {"none": 1, "asha": 3}
"""Way of stopping -> epochs of a trial."""
LIMIT = 1.5


def measure(num_trials: int, *, stopping: str) -> dict[str, float]:
    """Run one search in this process, after a small one that loads and starts everything."""
    from aufleet.cli.ray_session import ray_session
    from aufleet.storage import open_store

    with tempfile.TemporaryDirectory() as folder, ray_session(num_cpus=2):
        root = open_store(folder)
        _search("warm-up", 2, root=root, stopping=stopping)
        began, cpu = time.monotonic(), time.process_time()
        _search("scale", num_trials // 3, root=root, stopping=stopping)
        cpu, wall = time.process_time() - cpu, time.monotonic() - began
        keys = root.child("experiments/scale").keys("")
        ours = [key for key in keys if not key.startswith("trials/")]
        begun = len({key.rpartition("/")[0] for key in keys if key.startswith("ledger/trials/")})
    return {
        "trials": begun,
        "cpu_ms_per_trial": 1000 * cpu / begun,
        "wall_ms_per_trial": 1000 * wall / begun,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "objects_per_trial": len(ours) / begun,
    }


def _search(name: str, configurations: int, *, root: "Store", stopping: str) -> None:
    from searching.toys import toy_test, toy_trial

    from aufleet.tuning.experiment import parse_experiment
    from aufleet.tuning.search import run_search

    text = json.dumps(
        {
            "name": name,
            "task": "au",
            "dataset": "s3://nowhere/faces/1",
            "models": ["algrnet"],
            "fixed": {"epochs": EPOCHS[stopping]},
            "search": {"learning_rate": {"uniform": [0.01, 0.9]}},
            "sampler": {"kind": "random", "configurations": configurations},
            "early_stopping": {"kind": stopping},
        }
    )
    run_search(
        parse_experiment(text, source=name), root=root, run_trial=toy_trial(), score_test=toy_test()
    )


def main() -> int:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--stopping", default="none", choices=sorted(EPOCHS))
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, stopping=options.stopping)))
        return 0
    ratio, first = 1.0, 0.0
    for size in options.trials:
        command = [sys.executable, __file__, "--one", str(size), "--stopping", options.stopping]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        first = first or found["cpu_ms_per_trial"]
        ratio = found["cpu_ms_per_trial"] / first
        print(
            f"{found['trials']:6.0f} trials  {found['cpu_ms_per_trial']:6.1f} ms CPU each "
            f"({ratio:.2f} x)  {found['wall_ms_per_trial']:6.1f} ms  "
            f"{found['memory_mib']:6.0f} MiB  {found['objects_per_trial']:.2f} objects each",
            flush=True,
        )
    return int(ratio > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
