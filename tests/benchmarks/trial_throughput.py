"""Training images a second of a trial over a bare loop: tests/benchmarks/trial_throughput.py.

The bare loop is PyTorch alone with the same network, batch, precision and optimizer, its data in
memory. A one-rank trial reaches 0.97 of it at stage 0 and 0.93 at stages 1 and 2; with frames of an
S3 store through the loader, warm, 0.95 of what it reaches with frames in memory. The program fails
where one of them is missed. Rounds of all kinds take turns, so that a busy machine harms all alike.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from reference.trials import UNITS, MemoryFold, random_frames
from rich.console import Console
from rich.table import Table

from aufleet.storage import Store, open_store
from aufleet.training import TrialConfig, run_trial
from aufleet.training.trial import build_network

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

LIMITS = {"stage 0": 0.97, "stage 1": 0.93, "stage 2": 0.93, "from S3": 0.95}
"""Kind -> the least share of the bare loop's speed; of the trial in memory, for frames from S3."""
console = Console(width=110)


def main() -> int:
    """Measure, print, judge."""
    arguments = _arguments()
    config = TrialConfig(
        model=arguments.model,
        width=arguments.width,
        units=UNITS,
        dataset="memory",
        fold=1,
        epochs=arguments.epochs,
        batch=arguments.batch,
        precision=arguments.precision,
        threads=arguments.threads,
        augment=False,
    )
    num_frames = arguments.batch * arguments.steps
    speeds: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, _s3(Path(folder), arguments) as dataset:
        for number in range(arguments.rounds):
            speeds["bare"].append(_bare(config, num_frames))
            for stage in arguments.stages:
                one = replace(config, zero_stage=stage)
                data = MemoryFold(config=one, num_frames=num_frames)
                store = open_store(f"{folder}/{number}-{stage}")
                speeds[f"stage {stage}"].append(_trial(one, store, data=data))
            if dataset:
                one = replace(config, dataset=dataset)
                store = open_store(f"{folder}/{number}-s3")
                speeds["from S3"].append(_trial(one, store))
    return _judge(speeds, arguments)


def _judge(speeds: dict[str, list[float]], arguments: argparse.Namespace) -> int:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "images/s", "ratio", "limit"):
        table.add_column(column, justify="right" if column else "left")
    missed = 0
    for kind, found in speeds.items():
        base = "stage 0" if kind == "from S3" else "bare"
        # Of each round, and then the middle: what disturbs one round does not move the ratio.
        ratio = statistics.median(a / b for a, b in zip(found, speeds[base], strict=True))
        limit = LIMITS.get(kind)
        missed += limit is not None and ratio < limit
        told = "" if limit is None else f"{limit:.2f} of {base}"
        table.add_row(kind, f"{statistics.median(found):.1f}", f"{ratio:.3f}", told)
    console.print(
        f"{arguments.model} at width {arguments.width:g}, batch {arguments.batch}, "
        f"{arguments.precision}, {arguments.threads} thread(s), median of {arguments.rounds} rounds"
    )
    console.print(table)
    return int(missed > 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=2, help="of a trial; the first warms up")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--stages", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--no-s3", dest="s3", action="store_false")
    return parser.parse_args()


def _trial(config: TrialConfig, store: Store, **data: Any) -> float:
    """Return the images a second of a trial's last epoch."""
    result = run_trial(config, store=store, report=lambda report: True, **data)
    return result.epochs[-1].frames_per_s


def _bare(config: TrialConfig, num_frames: int) -> float:
    """Return the images a second of a loop that does nothing but train."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    network = build_network(config, UNITS).train()
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=True,
        weight_decay=config.weight_decay,
    )
    frames = random_frames(num_frames, side=network.frame_size)
    for _ in range(config.epochs):
        began = time.perf_counter()
        for start in range(0, num_frames, config.batch):
            batch = {name: one[start : start + config.batch] for name, one in frames.items()}
            with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
                prediction = network(batch["frames"], batch["landmarks"])
                loss = network.loss(prediction, batch)["total"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds = time.perf_counter() - began
    return num_frames / seconds


@contextmanager
def _s3(folder: Path, arguments: argparse.Namespace) -> Iterator[str]:
    """Publish as many painted frames in a real S3 server; yield the data set's URI, or ""."""
    if not arguments.s3:
        yield ""
        return
    from painted import publish_painted

    from aufleet.storage.local_server import start_store, stop_store

    home = folder / "store"
    home.mkdir()
    state = start_store(home)
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = state.credentials_file
    os.environ["AWS_CONFIG_FILE"] = state.config_file
    try:
        # Ten subjects: 6 train, or about, so that an epoch is about as long as in memory.
        each = arguments.batch * arguments.steps // 6
        root = open_store(f"{state.root}/throughput")
        yield publish_painted(root, subjects=10, frames=each, units=UNITS_PAINTED)
    finally:
        stop_store(home)


UNITS_PAINTED = (1, 12, *(unit for unit in UNITS if unit not in (1, 12)))

if __name__ == "__main__":
    raise SystemExit(main())
