"""Does every network learn? python tests/benchmarks/learning.py

Renders one synthetic data set, trains each network on one fold at a width that fits a CPU core,
and scores the held-out subjects once. It fails where a network is less than 0.10 mean F1 better
than the best constant answer, or where one trained on shuffled labels is not (--control).

Settings were chosen on the validation subjects (--validate), never on the test part. What is
finished lies in --work: the same command goes on where it was stopped.
"""

import argparse
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aufleet.training import TestScore, TrialConfig, TrialResult

MARGIN = 0.10
"""What a network must be better by than the best constant answer, in macro F1."""
INTERRUPTED = 130

DATA = {
    "au": {"num_subjects": 18, "frames_per_subject": 60, "units": (1, 2, 12, 25, 26)},
    # Each of four examinations shows seven exercises: multiples of 28 frames.
    "palsy": {"num_subjects": 24, "frames_per_subject": 28, "palsy": True},
}
COMMON = {
    "batch": 16,
    "optimizer": "adamw",
    "weight_decay": 5e-4,
    "epochs": 12,
    "schedule": "cosine",
    "warmup_epochs": 1,
    "learning_rate": 0.002,
}
SETTINGS = {
    "algrnet": {"width": 0.125},
    "lgrnet": {"width": 0.125},
    "mgrrnet": {"width": 0.125},
    "jaanet": {"width": 0.125},
    "lpnet": {"width": 0.25, "options": {"stem": 18, "input_size": 128}},
    "resnet18": {"width": 0.25},
    "resnet50": {"width": 0.125, "epochs": 32, "learning_rate": 0.003},
    "medt": {
        "width": 1.0,
        "epochs": 24,
        "warmup_epochs": 2,
        "learning_rate": 0.004,
        "options": {"input_size": 48},
    },
}
"""Network -> what differs from the papers' settings, chosen on the validation subjects."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One trial, below which folder, and whether the test part is left alone."""

    work: str
    config: "TrialConfig"
    validate: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one network made of the data set.

    Attributes:
        config: Its trial.
        num_parameters: Of the network.
        frames_per_s: Training frames a second of its least disturbed epoch, on one thread.
        score: Macro F1 of the part that counts.
        constant: The same of the best constant answer.
        per_label: F1 of each unit or grade.
        kappa: Of the grades; None for units.
        control: The gain of the same trial on shuffled labels; None where it was not asked for.
    """

    config: "TrialConfig"
    num_parameters: int
    frames_per_s: float
    score: float
    constant: float
    per_label: Mapping[str, float]
    kappa: float | None
    control: float | None = None

    @property
    def gain(self) -> float:
        return self.score - self.constant

    @property
    def passes(self) -> bool:
        return self.gain >= MARGIN and (self.control is None or self.control < MARGIN)


def main() -> int:
    from aufleet.errors import AufleetError

    chosen = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the trials as Ctrl-C does
    began = time.monotonic()
    try:
        rows = _measure(chosen)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last whole epoch", file=sys.stderr)
        return INTERRUPTED
    except AufleetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    part = "validation" if chosen.validate else "held-out"
    print(f"\n{part} subjects, task {chosen.task}; gain over the best constant answer\n")
    print("\n".join(_table(rows)))
    print(f"\n{time.monotonic() - began:.0f} s with {chosen.jobs} jobs of one thread")
    failed = [row.config.model for row in rows if not row.passes]
    print(f"not learnt: {', '.join(failed)}" if failed else f"every gain is at least {MARGIN}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Does every network learn?")
    parser.add_argument("--models", default=",".join(SETTINGS), help="such as resnet18,medt")
    parser.add_argument("--task", choices=list(DATA), default="au")
    parser.add_argument("--seed", default="0", help="of the trials; several such as 0,1")
    parser.add_argument("--jobs", type=int, default=2, help="trials side by side, a thread each")
    parser.add_argument("--control", action="store_true", help="train on shuffled labels too")
    parser.add_argument("--validate", action="store_true", help="leave the test part alone")
    parser.add_argument("--work", type=Path, help="keeps what is finished; default: a new folder")
    chosen = parser.parse_args()
    chosen.models = chosen.models.split(",")
    if unknown := set(chosen.models) - set(SETTINGS):
        parser.error(f"no network {unknown.pop()!r}: choose from {', '.join(SETTINGS)}")
    if not all(seed.isdecimal() for seed in chosen.seed.split(",")):
        parser.error(f"--seed {chosen.seed!r} is no number, nor several with commas")
    chosen.seeds = [int(seed) for seed in chosen.seed.split(",")]
    return chosen


def _measure(chosen: argparse.Namespace) -> list[Row]:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as fresh:
        work = str(chosen.work or fresh)
        dataset = _render(work, task=chosen.task)
        configs = [
            _config(model, task=chosen.task, dataset=dataset, seed=seed)
            for model in chosen.models
            for seed in chosen.seeds
        ]
        controls = [replace(config, shuffle_labels=True) for config in configs]
        trials = [*configs, *(controls if chosen.control else [])]
        jobs = [Job(work=work, config=one, validate=chosen.validate) for one in trials]
        rows = _run_all(jobs, at_once=chosen.jobs)
    measured, shuffled = rows[: len(configs)], rows[len(configs) :]
    if not shuffled:
        return measured
    return [replace(row, control=other.gain) for row, other in zip(measured, shuffled, strict=True)]


def _render(work: str, *, task: str) -> str:
    """Publish the data set if it is not there, and return its URI."""
    from aufleet.data.publish import DatasetSpec, publish_dataset
    from aufleet.data.synthetic import SyntheticSettings, render_subjects
    from aufleet.storage import open_store

    store = open_store(work)
    uri = store.uri_of(f"datasets/learning-{task}/1")
    if store.exists(f"datasets/learning-{task}/1/manifest.json"):
        return uri
    settings = SyntheticSettings(seed=0, **DATA[task])
    spec = DatasetSpec(
        name=f"learning-{task}", version="1", units=settings.units, source="learning.py", seed=0
    )
    publish_dataset(render_subjects(settings), spec=spec, store=store)
    return uri


def _config(model: str, *, task: str, dataset: str, seed: int) -> "TrialConfig":
    from aufleet.training import TrialConfig

    named = {"model": model, "task": task, "dataset": dataset, "fold": 1, "seed": seed}
    return TrialConfig.from_settings(named | COMMON | SETTINGS[model])


def _run_all(jobs: Sequence[Job], *, at_once: int) -> list[Row]:
    """Run trials side by side, each in a process of its own; say each as it ends.

    What lies in the store is whole or absent, so a process may be ended at any moment.
    """
    waiting = deque(enumerate(jobs))
    running: dict[int, tuple[Connection, BaseProcess]] = {}
    found: dict[int, Row] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                number, job = waiting.popleft()
                running[number] = _start(job)
            ready = wait([connection for connection, _ in running.values()])
            for number in [one for one, (connection, _) in running.items() if connection in ready]:
                found[number] = _received(*running[number], job=jobs[number])
                del running[number]
                print(_line(found[number]), file=sys.stderr, flush=True)
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()
    return [found[number] for number in sorted(found)]


def _start(job: Job) -> tuple[Connection, BaseProcess]:
    # Spawned: torch and gRPC must not be forked.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, there))
    process.start()
    there.close()
    return here, process


def _work(job: Job, connection: Connection) -> None:
    """Run one trial in a process of its own and send its row, or why there is none."""
    from aufleet.errors import AufleetError

    # Ctrl-C is for the first process alone, which then ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        connection.send(_run(job))
    except AufleetError as error:
        connection.send(error)


def _received(connection: Connection, process: BaseProcess, *, job: Job) -> Row:
    from aufleet.errors import TrainingError

    try:
        answer = connection.recv()
    except EOFError:
        process.join()
        raise TrainingError(
            f"the process of {job.config.model} ended with {process.exitcode}",
            "what it printed above says why",
        ) from None
    process.join()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _run(job: Job) -> Row:
    """Train, then score the test part, each unless it was done before."""
    from aufleet.storage import open_store
    from aufleet.training import run_trial, score_test
    from aufleet.training.trial import read_test_score

    config = job.config
    store = open_store(job.work).child(f"trials/{config.model}/{config.config_id}")
    result = run_trial(config, store=store, report=lambda _: True)
    if job.validate:
        best = result.epochs[result.best_epoch - 1]
        return _row(config, result, found=result, kappa=best.kappa)
    test = read_test_score(store)
    test = test or score_test(config, store=store, checkpoint=result.checkpoint)
    return _row(config, result, found=test, kappa=test.kappa)


def _row(
    config: "TrialConfig",
    result: "TrialResult",
    *,
    found: "TrialResult | TestScore",
    kappa: float | None,
) -> Row:
    from aufleet.training.trial import build_network

    units = DATA[config.task].get("units")
    network = build_network(config, units)
    return Row(
        config=config,
        num_parameters=sum(one.numel() for one in network.parameters()),
        frames_per_s=max(report.frames_per_s for report in result.epochs),
        score=found.score,
        constant=fmean(found.constant.values()),
        per_label=found.per_label,
        kappa=kappa,
    )


def _line(row: Row) -> str:
    shuffled = " on shuffled labels" if row.config.shuffle_labels else ""
    seed = f" seed {row.config.seed}" if row.config.seed else ""
    return f"{row.config.model}{seed}{shuffled}: F1 {row.score:.3f}, gain {row.gain:+.3f}"


def _table(rows: Sequence[Row]) -> list[str]:
    """Return a Markdown table."""
    labels = list(rows[0].per_label)
    heads = ["network", "width", "options", "parameters", "epochs", "rate", "seed", "images/s"]
    heads += ["F1", "constant", "gain", *labels]
    heads += ["kappa"] if rows[0].kappa is not None else []
    heads += ["shuffled gain"] if rows[0].control is not None else []
    cells = [heads, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * width for width in widths]
    return [_joined(line, widths) for line in (cells[0], rule, *cells[1:])]


def _cells(row: Row) -> list[str]:
    config = row.config
    options = " ".join(f"{name}={value}" for name, value in config.options.items())
    cells = [config.model, f"{config.width:g}", options, f"{row.num_parameters:,}"]
    cells += [str(config.epochs), f"{config.learning_rate:g}", str(config.seed)]
    cells += [f"{row.frames_per_s:.0f}", f"{row.score:.3f}", f"{row.constant:.3f}"]
    cells += [f"{row.gain:+.3f}", *(f"{f1:.2f}" for f1 in row.per_label.values())]
    cells += [f"{row.kappa:.2f}"] if row.kappa is not None else []
    return cells + ([f"{row.control:+.3f}"] if row.control is not None else [])


def _joined(cells: Iterable[str], widths: Iterable[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


if __name__ == "__main__":
    sys.exit(main())
