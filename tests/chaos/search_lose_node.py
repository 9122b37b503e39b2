"""A node of a three-node cluster dies during a search.

    .venv/bin/python tests/chaos/search_lose_node.py --count 3

Promise: the search ends with every trial done, each once; the loss is no crash of a trial.
"""

import logging
import os
import random
import secrets
import sys
import threading
import time
from collections import Counter

os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from kit.rounds import Outcome, parse, run_rounds
from kit.searches import complaints, experiment_text
from ray.cluster_utils import Cluster
from searching.toys import toy_test, toy_trial

from aufleet.storage import open_store
from aufleet.tuning.experiment import parse_experiment
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.search import run_search

_HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
"""A lost node is noticed within seconds, not after a quarter of a minute."""


def main() -> int:
    """Run the rounds."""
    options = parse(__doc__ or "", count=3)
    chance = random.Random(options.seed)
    moments = [chance.randrange(3, 48) for _ in range(options.count)]

    def one(number: int) -> Outcome:
        name = f"node-{number}-{os.getpid()}"
        experiment = parse_experiment(experiment_text(name, epochs=6), source=name)
        root = open_store(str(options.work / "root"))
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 1,
                "include_dashboard": False,
                "_system_config": _HEALTH,
            },
        )
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        store = root.child(f"experiments/{name}")

        def lose() -> None:
            while sum("/epoch-" in key for key in store.keys("trials/")) < moments[number]:
                time.sleep(0.1)
            cluster.remove_node(nodes[number % 2], allow_graceful=False)

        loser = threading.Thread(target=lose, daemon=True)
        loser.start()
        try:
            run_search(
                experiment, root=root, run_trial=toy_trial(pause_s=0.5), score_test=toy_test()
            )
            wrong = complaints(store, experiment)
            attempts = Counter(one.status for one in Ledger(store).trials())
            if attempts["crashed"]:
                wrong.append(f"{attempts['crashed']} attempts count as crashes of their trial")
        except Exception as error:
            wrong = [str(error)]
        finally:
            loser.join(timeout=5)
            ray.shutdown()
            cluster.shutdown()
        told = f"a node died after {moments[number]} of 72 epochs"
        return Outcome(ok=not wrong, kind="node", said="; ".join([told, *wrong]))

    return run_rounds(one, count=options.count, work=options.work)


if __name__ == "__main__":
    sys.exit(main())
