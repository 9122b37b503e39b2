"""Trials that cannot go well, and what becomes of them in a real search.

    .venv/bin/python tests/chaos/bad_trials.py --count 10

Promise: a loss that is not a number, memory that runs out and a setting that the network refuses
end the trial with their reason, once; a rank that hangs is ended by a watchdog and the trial is
tried again; the others of the search go on.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kit.rounds import Outcome, parse, run_rounds  # isort: skip - it sets the path
from kit.trials import dataset_of, local_root, noting, reported, settings_of

from aufleet.cli.ray_session import ray_session
from aufleet.errors import AufleetError
from aufleet.storage import Store
from aufleet.training import TrialConfig, run_trial, score_test
from aufleet.training.trial import build_network
from aufleet.tuning.experiment import parse_experiment
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.search import run_search

STALL_S = 20.0
GOOD = 0.02
"""The learning rate of the trial beside the bad one."""


def not_a_number(work: Path) -> tuple[dict[str, Any], Callable[..., Any]]:
    """Return settings whose loss overflows at once."""
    return {"learning_rate": 1e30}, run_trial


def out_of_memory(work: Path) -> tuple[dict[str, Any], Callable[..., Any]]:
    """Return a trial whose process may take no more memory than it has."""

    def run(config: TrialConfig, **others: Any) -> Any:
        import resource

        import psutil

        if config.learning_rate == GOOD:
            return run_trial(config, **others)
        before = resource.getrlimit(resource.RLIMIT_AS)
        allowed = psutil.Process().memory_info().vms + 2**27
        resource.setrlimit(resource.RLIMIT_AS, (allowed, before[1]))
        try:
            return run_trial(config, **others)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    return {"learning_rate": 0.01, "batch": 24, "width": 1.0}, run


def refused_setting(work: Path) -> tuple[dict[str, Any], Callable[..., Any]]:
    """Return a setting that only the data set shows to be impossible."""
    return {"learning_rate": 0.01, "initialize_from": "models/that-is-not-there"}, run_trial


def hanging_rank(work: Path) -> tuple[dict[str, Any], Callable[..., Any]]:
    """Return a trial whose last rank stops for ever, the first time."""
    flag = work / f"hung-{os.urandom(4).hex()}"

    def run(config: TrialConfig, *, ranks: Any = None, **others: Any) -> Any:
        import os
        import signal
        import threading

        def build(config: TrialConfig, units: Any) -> Any:
            last = ranks is None or ranks.rank == ranks.size - 1
            if config.learning_rate != GOOD and last and not flag.exists():
                flag.touch()
                stop = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGSTOP))
                stop.daemon = True
                stop.start()
            return build_network(config, units)

        return run_trial(config, ranks=ranks, build=build, **others)

    return {"learning_rate": 0.03, "epochs": 40}, run


CASES = {
    "not a number": (not_a_number, "the loss became"),
    "out of memory": (out_of_memory, "ran out of memory"),
    "refused setting": (refused_setting, "there is no model at"),
    "hanging rank": (hanging_rank, ""),
}


def main() -> int:
    """Run the rounds."""
    options = parse(__doc__ or "", count=8)
    root = local_root(options.work)
    dataset = dataset_of(root)

    def one(number: int) -> Outcome:
        kind = list(CASES)[number % len(CASES)]
        make, reason = CASES[kind]
        # A hang needs somebody who waits for it: two ranks.
        ranks = 2 if kind == "hanging rank" else 1
        bad, run = make(options.work)
        name = f"bad-{number}-{os.getpid()}"
        folder = options.work / name
        folder.mkdir()
        settings = settings_of(dataset, stall_s=STALL_S, ranks=ranks, epochs=2)
        records = search(name, settings, bad, root=root, run=noting(folder, run))
        return judge(kind, records, reason=reason, told=reported(folder))

    with ray_session(num_cpus=2):
        return run_rounds(one, count=options.count, work=options.work)


def search(
    name: str,
    settings: dict[str, Any],
    bad: dict[str, Any],
    *,
    root: Store,
    run: Any,
) -> dict[str, list[Any]]:
    """Run a search of a good and a bad row; return the records of each row's trial."""
    shared = {key: settings[key] for key in ("width", "epochs", "batch", "stall_s")}
    text = json.dumps(
        {
            "name": name,
            "task": "au",
            "dataset": settings["dataset"],
            "models": [settings["model"]],
            "folds": [settings["fold"]],
            "fixed": shared,
            "rows": {"bad": {"settings": bad}, "good": {"settings": {"learning_rate": GOOD}}},
            "resources": {"ranks": settings["ranks"]},
        }
    )
    try:
        run_search(
            parse_experiment(text, source=name), root=root, run_trial=run, score_test=score_test
        )
    except AufleetError as error:
        print(f"     the search says: {error}")
    found: dict[str, list[Any]] = {"bad": [], "good": []}
    for record in Ledger(root.child(f"experiments/{name}")).trials():
        found[record.row].append(record)
    return found


def judge(kind: str, records: dict[str, list[Any]], *, reason: str, told: list[dict]) -> Outcome:
    """Compare how the two rows ended with the promise."""
    last = {row: ones[-1] if ones else None for row, ones in records.items()}
    bad, good = last["bad"], last["good"]
    if bad is None or good is None or good.status != "finished":
        return Outcome(ok=False, kind=kind, said=f"the other trial ended {good and good.status}")
    if kind == "hanging rank":
        ok = bad.status == "finished" and bad.attempt == 2
        return Outcome(ok=ok, kind=kind, said=f"{bad.status} at attempt {bad.attempt} {bad.reason}")
    ok = bad.status == "failed" and bad.attempt == 1 and reason in bad.reason
    return Outcome(ok=ok, kind=kind, said=f"{bad.status} at attempt {bad.attempt}: {bad.reason}")


if __name__ == "__main__":
    raise SystemExit(main())
