"""Trials that cannot go well, and what becomes of them in a real search.

    .venv/bin/python tests/chaos/bad_trials.py --count 10

Promise: a loss that is not a number, memory that runs out and a setting that the network refuses
end the trial with their reason, once; a rank that hangs is ended by a watchdog and the trial is
tried again; a full disk below the node's cache is named and the trial goes on from the store; the
others of the search go on.

The full disk is a real one of 256 KB, mounted for this program alone.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from kit.rounds import Outcome, parse, run_rounds  # isort: skip - it sets the path
from kit.trials import dataset_of, local_root, noting, settings_of

from aufleet.cli.ray_session import ray_session
from aufleet.errors import AufleetError
from aufleet.storage import Store
from aufleet.training import TrialConfig, run_trial, score_test
from aufleet.training.environment import load_deepspeed
from aufleet.training.trial import build_network
from aufleet.tuning.experiment import parse_experiment
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.search import run_search

STALL_S = 30.0
"""Of the rank that hangs; a busy machine may well take longer over other trials."""
GOOD = 0.02
"""The learning rate of the trial beside the bad one."""
DISK = "disk"
"""Folder on the small disk; this program's own mounts are its children's as well."""
NO_SPACE = "No space left on device"
_ALONE = "AUFLEET_CHAOS_OWN_MOUNTS"


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
        # Memory is to lack in training, not where modules are imported: the optimizer's among them.
        load_deepspeed()
        import_module("torch._dynamo")
        before = resource.getrlimit(resource.RLIMIT_AS)
        # Enough for the stacks of new threads, far too little for the network.
        allowed = psutil.Process().memory_info().vms + 2**29
        resource.setrlimit(resource.RLIMIT_AS, (allowed, before[1]))
        try:
            return run_trial(config, **others)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    return {"learning_rate": 0.01, "batch": 24, "width": 2.0}, run


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


def full_disk(work: Path) -> tuple[dict[str, Any], Callable[..., Any]]:
    """Return a trial whose node has a disk for two or three of its shards."""
    disk, said = work / DISK, work / f"said-{os.urandom(4).hex()}"

    def run(config: TrialConfig, **others: Any) -> Any:
        if config.learning_rate == GOOD:
            return run_trial(config, **others)
        before = {name: os.environ.get(name) for name in ("AUFLEET_CACHE_DIR", "AUFLEET_CACHE_GB")}
        # More than the disk has, as where other programs fill it.
        os.environ |= {"AUFLEET_CACHE_DIR": str(disk), "AUFLEET_CACHE_GB": "1"}
        log, listener = logging.getLogger("aufleet.data.cache"), logging.FileHandler(said)
        log.addHandler(listener)
        try:
            return run_trial(config, **others)
        finally:
            log.removeHandler(listener)
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    # Batches of another size, so that no loader of the trial before serves this one.
    return {"learning_rate": 0.03, "batch": 6}, run


CASES = {
    "not a number": (not_a_number, "the loss became"),
    "out of memory": (out_of_memory, "ran out of memory"),
    "refused setting": (refused_setting, "there is no model at"),
    "hanging rank": (hanging_rank, ""),
    "full disk": (full_disk, NO_SPACE),
}


def main() -> int:
    """Run the rounds."""
    options = parse(__doc__ or "", count=10)
    mounted = small_disk(options.work / DISK)
    root = local_root(options.work)
    dataset = dataset_of(root)

    def one(number: int) -> Outcome:
        kind = list(CASES)[number % len(CASES)]
        if kind == "full disk" and not mounted:
            return Outcome(ok=False, kind=kind, said="no disk can be mounted here: be root")
        make, reason = CASES[kind]
        # A hang needs somebody who waits for it: two ranks.
        ranks = 2 if kind == "hanging rank" else 1
        bad, run = make(options.work)
        name = f"bad-{number}-{os.getpid()}"
        folder = options.work / name
        folder.mkdir()
        patience = {"stall_s": STALL_S} if kind == "hanging rank" else {}
        settings = settings_of(dataset, ranks=ranks, epochs=2, **patience)
        records = search(name, settings, bad, root=root, run=noting(folder, run))
        said = " ".join(file.read_text() for file in options.work.glob("said-*"))
        for file in options.work.glob("said-*"):
            file.unlink()
        return judge(kind, records, reason=reason, said=said)

    with ray_session(num_cpus=2):
        return run_rounds(one, count=options.count, work=options.work)


def small_disk(folder: Path) -> bool:
    """Mount a disk of 256 KB that only this program and its children see; return whether it is."""
    folder.mkdir(exist_ok=True)
    unshare = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    if _ALONE not in os.environ:
        if subprocess.run([*unshare, "true"], check=False).returncode:
            return False
        os.environ[_ALONE] = "1"
        os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    return subprocess.run(mount, check=False).returncode == 0


def search(
    name: str,
    settings: dict[str, Any],
    bad: dict[str, Any],
    *,
    root: Store,
    run: Any,
) -> dict[str, list[Any]]:
    """Run a search of a good and a bad row; return the records of each row's trial."""
    names = ("width", "epochs", "batch", "stall_s")
    shared = {key: settings[key] for key in names if key in settings}
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


def judge(kind: str, records: dict[str, list[Any]], *, reason: str, said: str) -> Outcome:
    """Compare how the two rows ended with the promise."""
    last = {row: ones[-1] if ones else None for row, ones in records.items()}
    bad, good = last["bad"], last["good"]
    if bad is None or good is None or good.status != "finished":
        return Outcome(ok=False, kind=kind, said=f"the other trial ended {good and good.status}")
    if kind == "hanging rank":
        ok = bad.status == "finished" and bad.attempt == 2
        return Outcome(ok=ok, kind=kind, said=f"{bad.status} at attempt {bad.attempt} {bad.reason}")
    if kind == "full disk":
        ok = bad.status == "finished" and bad.attempt == 1 and reason in said
        return Outcome(ok=ok, kind=kind, said=f"{bad.status} {bad.reason}: {said.strip()}")
    ok = bad.status == "failed" and bad.attempt == 1 and reason in bad.reason
    return Outcome(ok=ok, kind=kind, said=f"{bad.status} at attempt {bad.attempt}: {bad.reason}")


if __name__ == "__main__":
    raise SystemExit(main())
