"""Set-up of a warm trial: python tests/benchmarks/trial_setup.py.

From the call to the first training step, in a process that has run trials before: what a reused
actor pays. Without building the network and `deepspeed.initialize` it may take 0.1 s on one rank
and 1 s on two; the program fails where it takes longer. `--nested` adds what a nested Ray Train run
takes before its loop begins.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reference.trials import MemoryFold, SetUpClock
from rich.console import Console
from rich.table import Table

from aufleet.storage import open_store
from aufleet.training import Ranks, TrialConfig, join_ranks, run_trial
from aufleet.training.trial import build_network

LIMITS_S = {1: 0.1, 2: 1.0}
"""Number of ranks -> the most that set-up may take, beside network and DeepSpeed."""
MODEL, BATCH = "resnet18", 4
console = Console(width=110)


def main() -> int:
    """Measure, print, judge."""
    arguments = _arguments()
    if arguments.rank is not None:
        _as_rank(arguments)
        return 0
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("ranks", "width", "ZeRO", "network s", "DeepSpeed s", "the rest s", "whole s"):
        table.add_column(column, justify="right")
    worst = dict.fromkeys(arguments.ranks, 0.0)
    for size in arguments.ranks:
        for row in _measure(size, arguments):
            worst[size] = max(worst[size], row["rest"])
            times = (f"{row[key]:.3f}" for key in ("build", "initialize", "rest", "total"))
            table.add_row(str(size), f"{row['width']:g}", str(row["stage"]), *times)
    console.print(f"{MODEL}, warm trials, median of {arguments.rounds}")
    console.print(table)
    if arguments.nested:
        console.print(f"a nested Ray Train run of one worker: {_nested():.1f} s to its loop")
    for size, rest in worst.items():
        console.print(f"{size} rank(s): {rest:.3f} s at most, the limit is {LIMITS_S[size]} s")
    return int(any(rest > LIMITS_S[size] for size, rest in worst.items()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], choices=(1, 2))
    parser.add_argument("--widths", type=float, nargs="+", default=[0.25, 1.0])
    parser.add_argument("--stages", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nested", action="store_true")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--meeting", help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(size: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each stage and width, measured in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", __file__, "--ranks", str(size)]
        command += ["--widths", *map(str, arguments.widths)]
        command += ["--stages", *map(str, arguments.stages)]
        command += ["--rounds", str(arguments.rounds), "--meeting", f"file://{folder}/meeting"]
        processes = [
            subprocess.Popen([*command, "--rank", str(rank)], stdout=subprocess.PIPE, text=True)
            for rank in range(size)
        ]
        outputs = [process.communicate()[0] for process in processes]
    assert all(process.returncode == 0 for process in processes)
    return [json.loads(line) for line in outputs[0].splitlines() if line.startswith("{")]


def _as_rank(arguments: argparse.Namespace) -> None:
    """Run the trials of one rank; the first of each kind warms up and is not counted."""
    (size,) = arguments.ranks
    ranks = join_ranks(rank=arguments.rank, size=size, address=arguments.meeting)
    clock = SetUpClock()
    clock.watch_deepspeed()
    with tempfile.TemporaryDirectory() as folder:
        for width in arguments.widths:
            for stage in arguments.stages:
                config = TrialConfig(
                    model=MODEL,
                    width=width,
                    dataset="memory",
                    fold=1,
                    epochs=1,
                    batch=BATCH,
                    ranks=size,
                    zero_stage=stage,
                )
                where = Path(folder) / f"{width}-{stage}"
                found = list(_trials(config, ranks, clock, where, rounds=arguments.rounds))
                medians = {
                    name: statistics.median(one[name] for one in found[1:]) for name in found[0]
                }
                print(json.dumps({"width": width, "stage": stage, **medians}), flush=True)


def _trials(
    config: TrialConfig, ranks: Ranks, clock: SetUpClock, where: Path, *, rounds: int
) -> Iterator[dict[str, float]]:
    data = MemoryFold(config=config, num_frames=BATCH, began=clock.first_batch)
    for number in range(rounds + 1):
        clock.start()
        run_trial(
            config,
            store=open_store(str(where / str(number))),
            report=lambda report: True,
            ranks=ranks,
            data=data,
            build=clock.building(build_network),
        )
        yield {
            "build": clock.build_s,
            "initialize": clock.initialize_s,
            "rest": clock.rest_s,
            "total": clock.total_s,
        }


def _nested() -> float:
    """Return how long a Ray Train run takes until its loop begins, in a Ray that runs already."""
    import ray.train
    from ray.train.torch import TorchTrainer

    from aufleet.cli.ray_session import ray_session

    with ray_session(num_cpus=2, dashboard=True), tempfile.TemporaryDirectory() as folder:
        mark = Path(folder) / "began"

        def loop() -> None:
            mark.write_text(str(time.time()))

        trainer = TorchTrainer(
            loop,
            scaling_config=ray.train.ScalingConfig(num_workers=1),
            run_config=ray.train.RunConfig(storage_path=folder, name="nested"),
        )
        began = time.time()
        trainer.fit()
        return float(mark.read_text()) - began


if __name__ == "__main__":
    raise SystemExit(main())
