"""SIGKILL of a random rank at a random moment of a two-rank trial in a real search.

    .venv/bin/python tests/chaos/kill_ranks.py --count 20

Promise: the trial is tried again and goes on from its last checkpoint, no epoch is trained twice
but the one that was cut off, and the last weights and optimizer state equal those of an
uninterrupted run bit for bit. ZeRO stages 0 to 3 in turn.
"""

import json
import os
import random
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path

from kit.rounds import Outcome, parse, run_rounds  # isort: skip - it sets the path
from kit.trials import dataset_of, last_bytes, local_root, noting, reported, settings_of

from aufleet.cli.ray_session import ray_session
from aufleet.storage import Store
from aufleet.training import TestScore, TrialConfig
from aufleet.tuning.experiment import parse_experiment
from aufleet.tuning.grid import ConfigurationSource, id_of
from aufleet.tuning.search import run_search

RANKS = 2
EPOCHS = 6
PATIENCE_S = 300
AGAIN = 4
"""Tries to hit a trial while it trains."""


class Killer(threading.Thread):
    """Kills one rank within an epoch, at a share of the time that the epoch takes undisturbed."""

    def __init__(self, folder: Path, *, rank: int, epoch: int, after_s: float) -> None:
        super().__init__(daemon=True)
        self._folder, self._rank, self._epoch, self._after_s = folder, rank, epoch, after_s
        self.killed_at: float | None = None

    def run(self) -> None:
        """Wait until every rank trains this epoch, and then for the moment."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._trains():
            if time.monotonic() > deadline:
                return
            time.sleep(0.005)
        time.sleep(self._after_s)
        victim = next(self._folder.glob(f"rank-{self._rank}-*"))
        os.kill(int(victim.name.split("-")[2]), signal.SIGKILL)
        self.killed_at = time.time()

    def _trains(self) -> bool:
        met = {file.name.split("-")[1] for file in self._folder.glob("rank-*")}
        return len(met) == RANKS and len(reported(self._folder)) >= self._epoch - 1


def search(name: str, *, stage: int, root: Store, folder: Path) -> tuple[Store, list[float]]:
    """Run the search of one trial; return the trial's store and the seconds of each epoch."""
    settings = settings_of(dataset_of(root), zero_stage=stage, epochs=EPOCHS)
    fixed = {key: settings[key] for key in ("width", "epochs", "batch", "learning_rate")}
    text = json.dumps(
        {
            "name": name,
            "task": "au",
            "dataset": settings["dataset"],
            "models": [settings["model"]],
            "folds": [settings["fold"]],
            "fixed": {**fixed, "zero_stage": stage},
            "resources": {"ranks": RANKS},
        }
    )
    experiment = parse_experiment(text, source=name)
    run_search(experiment, root=root, run_trial=noting(folder), score_test=unscored)
    configuration = ConfigurationSource(experiment, root=root).next_configuration()
    assert configuration is not None
    store = root.child(f"experiments/{name}/trials/{id_of(configuration.trials[0])}")
    met = max(file.stat().st_mtime for file in folder.glob("rank-*"))
    ends = [met, *(one["at"] for one in reported(folder))]
    return store, [end - begin for begin, end in pairwise(ends)]


def unscored(config: TrialConfig, *, store: Store, checkpoint: str) -> TestScore:
    """Score no test part: nobody asks here how good the network is."""
    return TestScore(
        score=0.0,
        loss=0.0,
        per_label={},
        constant={},
        num_frames=0,
        checkpoint=checkpoint,
        predictions="",
    )


def main() -> int:
    """Run the rounds."""
    options = parse(__doc__ or "", count=20)
    root, chance = local_root(options.work), random.Random(options.seed)
    moments = [
        (chance.randrange(RANKS), 1 + number % EPOCHS, chance.random())
        for number in range(options.count)
    ]
    whole: dict[int, tuple[Store, list[float]]] = {}

    def uninterrupted(stage: int) -> tuple[Store, list[float]]:
        if stage not in whole:
            folder = fresh(options.work / f"whole-{stage}-{os.getpid()}")
            name = f"whole-{stage}-{os.getpid()}"
            whole[stage] = search(name, stage=stage, root=root, folder=folder)
        return whole[stage]

    def one(number: int) -> Outcome:
        stage, (rank, epoch, share) = number % 4, moments[number]
        expected, seconds = uninterrupted(stage)
        for again in range(AGAIN):
            name = f"round-{number}-{again}-{os.getpid()}"
            folder = fresh(options.work / name)
            # Earlier each time: a kill after the last epoch shows nothing.
            after_s = share * seconds[epoch - 1] / 2**again
            killer = Killer(folder, rank=rank, epoch=epoch, after_s=after_s)
            killer.start()
            store, _ = search(name, stage=stage, root=root, folder=folder)
            outcome = judge(killer, folder, store, expected, kind=f"stage {stage}, rank {rank}")
            if outcome is not None:
                return outcome
        return Outcome(ok=False, kind=f"rank {rank}", said="every kill came after the last epoch")

    with ray_session(num_cpus=RANKS):
        return run_rounds(one, count=options.count, work=options.work)


def judge(
    killer: Killer, folder: Path, store: Store, expected: Store, *, kind: str
) -> Outcome | None:
    """Compare what came out with what an uninterrupted run gives; None where the kill was late."""
    told = reported(folder)
    epochs = [one["epoch"] for one in told]
    pids = {one["pid"] for one in told}
    if killer.killed_at is None:
        return Outcome(ok=False, kind=kind, said="nobody was killed")
    before = [one["epoch"] for one in told if one["at"] < killer.killed_at]
    if max(before, default=0) == EPOCHS:
        return None
    lost = len(epochs) - len(set(epochs))
    same = last_bytes(store) == last_bytes(expected)
    whole = set(epochs) | {0} >= {*range(1, EPOCHS + 1)} - {max(before, default=0) + 1}
    said = (
        f"killed after epoch {max(before, default=0)}, {len(pids)} process(es) reported, "
        f"{lost} epoch(s) twice, bits {'equal' if same else 'DIFFER'}"
    )
    return Outcome(ok=same and lost == 0 and whole, kind=kind, said=said)


def fresh(folder: Path) -> Path:
    """Return an empty folder."""
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
