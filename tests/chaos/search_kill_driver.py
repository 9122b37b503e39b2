"""SIGKILL of a search's driver at a random moment.

    .venv/bin/python tests/chaos/search_kill_driver.py --count 20

Promise: the same command finishes the experiment; the ledger shows every (model, fold,
configuration) exactly once; the winner is the one of an uninterrupted run; nothing that had
finished runs again.
"""

import os
import random
import sys
from collections import Counter

from kit.rounds import Outcome, parse, run_rounds  # isort: skip - it sets the path
from kit.searches import Driver, complaints, experiment_text, wait_for_epochs

from aufleet.storage import Store, open_store
from aufleet.tuning.experiment import parse_experiment

EPOCHS_IN_ALL = 4 * 3 * 3


def main() -> int:
    """Run the rounds."""
    options = parse(__doc__ or "", count=20)
    chance = random.Random(options.seed)
    moments = [chance.randrange(0, EPOCHS_IN_ALL) for _ in range(options.count)]

    def one(number: int) -> Outcome:
        name = f"killed-{number}-{os.getpid()}"
        text = experiment_text(name)
        root = str(options.work / "root")
        store = open_store(root).child(f"experiments/{name}")
        first = Driver.start(root, text, work=options.work)
        wait_for_epochs(store, number=moments[number], driver=first)
        first.kill()
        trained = epochs_of(store)
        code, said = Driver.start(root, text, work=options.work).wait()
        wrong = complaints(store, parse_experiment(text, source=name)) if code == 0 else [said]
        again = sum(1 for number in (epochs_of(store)).values() if number > 3)
        if again:
            wrong.append(f"{again} trials trained too long")
        told = f"killed after {sum(trained.values())} of {EPOCHS_IN_ALL} epochs"
        return Outcome(ok=not wrong, kind="kill", said="; ".join([told, *wrong]))

    return run_rounds(one, count=options.count, work=options.work)


def epochs_of(store: Store) -> Counter[str]:
    """Return trial -> epochs that were trained."""
    return Counter(key.rpartition("/")[0] for key in store.keys("trials/") if "/epoch-" in key)


if __name__ == "__main__":
    sys.exit(main())
