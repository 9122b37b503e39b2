"""Two drivers on one experiment: started at once, and one paused beyond its lease and continued.

    .venv/bin/python tests/chaos/search_two_drivers.py --count 6

Promise: exactly one writes. Of two that start at once the other says in one sentence who runs the
experiment; a driver that comes back finds that it has been replaced, and nothing that it writes
after its lease ran out counts.
"""

import os
import sys
import time

from kit.rounds import Outcome, parse, run_rounds  # isort: skip - it sets the path
from kit.searches import LEASE_S, Driver, complaints, experiment_text, wait_for_epochs

from aufleet.storage import open_store
from aufleet.tuning.experiment import parse_experiment

KINDS = ("at once", "paused")


def main() -> int:
    """Run the rounds."""
    options = parse(__doc__ or "", count=6)

    def one(number: int) -> Outcome:
        kind, name = KINDS[number % 2], f"two-{number}-{os.getpid()}"
        text, root = experiment_text(name, epochs=6), str(options.work / "root")
        store = open_store(root).child(f"experiments/{name}")
        first = Driver.start(root, text, work=options.work)
        if kind == "paused":
            wait_for_epochs(store, number=6, driver=first)
            first.pause()
            time.sleep(LEASE_S)
        second = Driver.start(root, text, work=options.work)
        if kind == "paused":
            ended = [second.wait()]
            first.go_on()
            ended.append(first.wait())
            expected = "another driver has taken over"
        else:
            ended = sorted([first.wait(), second.wait()])
            expected = "runs the experiment at"
        wrong = complaints(store, parse_experiment(text, source=name))
        if [code for code, _ in ended] != [0, 1]:
            wrong.append(f"exit codes {[code for code, _ in ended]}")
        elif expected not in ended[1][1]:
            wrong.append(f"the other said {ended[1][1]!r}")
        fences = {key.rpartition(".f")[2] for key in store.keys("ledger/trials/")}
        if kind == "at once" and len(fences) != 1:
            wrong.append("both wrote")
        told = f"the other ended with: {ended[1][1][:90]}"
        return Outcome(ok=not wrong, kind=kind, said="; ".join([told, *wrong]))

    return run_rounds(one, count=options.count, work=options.work)


if __name__ == "__main__":
    sys.exit(main())
