"""A search while the store fails: 10 % of the requests in any way, or away for 30 s.

    .venv/bin/python tests/chaos/search_store_faults.py --count 6

Promise: no trial is lost, no row is written twice.
"""

import os
import sys
import threading
import time

from kit.rounds import Outcome, parse, run_rounds  # isort: skip - it sets the path
from faults.proxy import FaultProxy, fault_proxy, through
from kit.searches import Driver, complaints, experiment_text, wait_for_epochs

from aufleet.storage import open_store
from aufleet.storage.local_server import start_store, stop_store
from aufleet.tuning.experiment import parse_experiment

AWAY_S = 30.0
KINDS = ("failing", "away")


def main() -> int:
    """Run the rounds."""
    options = parse(__doc__ or "", count=6)
    home = options.work / "home"
    home.mkdir(exist_ok=True)
    state = start_store(home)
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = state.credentials_file
    os.environ["AWS_CONFIG_FILE"] = state.config_file

    def one(number: int) -> Outcome:
        kind, name = KINDS[number % 2], f"store-{number}-{os.getpid()}"
        text, root = experiment_text(name), f"{state.root}/{name}"
        rate = 0.1 if kind == "failing" else 0.0
        proxy_of = fault_proxy(state.endpoint, seed=number, rate=rate)
        with proxy_of as proxy, through(proxy):
            store = open_store(root).child(f"experiments/{name}")
            driver = Driver.start(root, text, work=options.work)
            if kind == "away":
                wait_for_epochs(store, number=4, driver=driver)
                leave = threading.Thread(target=go_away, args=(proxy,))
                leave.start()
            code, said = driver.wait()
            if kind == "away":
                leave.join()
            proxy.rate = 0.0
            wrong = complaints(store, parse_experiment(text, source=name)) if code == 0 else [said]
        told = f"{proxy.num_faults} of {len(proxy.requests)} requests failed"
        return Outcome(ok=not wrong, kind=kind, said="; ".join([told, *wrong]))

    try:
        return run_rounds(one, count=options.count, work=options.work)
    finally:
        stop_store(home)


def go_away(proxy: FaultProxy) -> None:
    """Let nobody listen for a while."""
    proxy.away = True
    time.sleep(AWAY_S)
    proxy.away = False


if __name__ == "__main__":
    sys.exit(main())
