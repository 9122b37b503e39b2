"""Searches of trials that take no time, as drivers of their own that can be killed and paused.

As a program this file is one driver: python -m kit.searches ROOT FILE
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from aufleet.storage import Store, open_store
from aufleet.tuning.experiment import Experiment, parse_experiment
from aufleet.tuning.ledger import Ledger

_TESTS = Path(__file__).resolve().parents[2]
_MARK = "AUFLEET_CHAOS_MARK"
PATIENCE_S = 600
LEASE_S = 6
"""Short, so that a round does not wait for a lease that a killed driver left."""


def experiment_text(name: str, *, configurations: int = 4, epochs: int = 3) -> str:
    """Return an experiment file of a few configurations x three folds."""
    rates = [round(0.1 + 0.8 * one / configurations, 3) for one in range(configurations)]
    return json.dumps(
        {
            "name": name,
            "task": "au",
            "dataset": "s3://nowhere/faces/1",
            "models": ["algrnet"],
            "fixed": {"epochs": epochs},
            "search": {"learning_rate": {"choice": rates}},
        }
    )


@dataclass(kw_only=True)
class Driver:
    """A process that runs a search, and everything that it starts."""

    process: subprocess.Popen[str]
    mark: str

    @classmethod
    def start(cls, root: str, text: str, *, work: Path) -> "Driver":
        """Start one."""
        mark = os.urandom(8).hex()
        file = work / f"{mark}.json"
        file.write_text(text)
        settings = {_MARK: mark, "AUFLEET_LEASE_S": str(LEASE_S), "PYTHONPATH": _paths()}
        process = subprocess.Popen(
            [sys.executable, "-m", "kit.searches", root, str(file)],
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return cls(process=process, mark=mark)

    def wait(self) -> tuple[int, str]:
        """Wait for its end; returns the exit code and its last line."""
        out, errors = self.process.communicate(timeout=PATIENCE_S)
        self.sweep()
        lines = (out.strip() or errors.strip()).splitlines()
        return self.process.returncode, lines[-1] if lines else ""

    def kill(self) -> None:
        """End it at once, then what it leaves behind."""
        self.process.kill()
        self.sweep()  # first: what it started may hold its pipes
        self.process.communicate()

    def pause(self) -> None:
        """Stop its process alone, as a debugger or a laptop's lid does."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        self.process.send_signal(signal.SIGCONT)

    def sweep(self) -> None:
        """End every process that carries its mark."""
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if one.pid != os.getpid() and one.environ().get(_MARK) == self.mark:
                    one.kill()


def _paths() -> str:
    known = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join(filter(None, [str(_TESTS), str(_TESTS / "chaos"), known]))


def wait_for_epochs(store: Store, *, number: int, driver: Driver) -> None:
    """Wait until so many epochs were trained, or the driver has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while driver.process.poll() is None and time.monotonic() < deadline:
        if sum("/epoch-" in key for key in store.keys("trials/")) >= number:
            return
        time.sleep(0.1)


def complaints(store: Store, experiment: Experiment) -> list[str]:
    """Return what is wrong with a ledger that should be whole: each trial finished exactly once."""
    ledger, wrong = Ledger(store), []
    finished = [one.trial_id for one in ledger.trials() if one.status == "finished"]
    rates = experiment.search["learning_rate"].choice or ()
    if len(set(finished)) != len(rates) * len(experiment.folds):
        wrong.append(f"{len(set(finished))} trials finished")
    if len(set(finished)) != len(finished):
        wrong.append("a trial finished twice")
    best = max(ledger.trials(), key=lambda one: one.score or 0.0)
    if best.point["learning_rate"] != max(rates):
        wrong.append("another winner")
    tests = [one.fold for one in ledger.tests()]
    if sorted(tests) != sorted(experiment.folds):
        wrong.append(f"test parts {tests} were scored")
    return wrong


def main() -> int:
    """Be a driver."""
    from searching.toys import toy_test, toy_trial

    from aufleet.cli.ray_session import ray_session
    from aufleet.errors import AufleetError
    from aufleet.tuning.search import run_search

    root, file = sys.argv[1:]
    experiment = parse_experiment(Path(file).read_text(), source=file)
    with ray_session(num_cpus=2):
        try:
            run_search(
                experiment,
                root=open_store(root),
                run_trial=toy_trial(pause_s=0.2),
                score_test=toy_test(),
            )
        except AufleetError as error:
            print(error, flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
