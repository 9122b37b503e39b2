"""Trials by hand on a real S3 server behind a proxy that fails.

    .venv/bin/python tests/chaos/store_faults.py --count 12

Promise: where 10 % of the requests fail in any way, where some stall, or where the store is away
for 30 s, no trial is lost and its last weights are those of an undisturbed one; where it stays
away, the verb ends with one sentence, and the same command goes on once it is back.
"""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from kit.rounds import Outcome, parse, run_rounds  # isort: skip - it sets the path
from faults.proxy import FaultProxy, fault_proxy, through
from kit.trials import dataset_of, last_bytes, settings_of, whole_epochs

from aufleet.storage import Store, open_store
from aufleet.storage.local_server import start_store, stop_store
from aufleet.training import TrialConfig

AWAY_S = 30.0
EPOCHS = 4
DEADLINE_S = "10"
"""After which a store that stays away is given up, in that case alone: its default is a minute."""


class Verb:
    """`aufleet train` of one trial, as often as it takes."""

    def __init__(self, settings: dict, out: Store) -> None:
        self._settings = dict(settings)
        fixed = {name: self._settings.pop(name) for name in ("dataset", "model", "fold", "epochs")}
        options = [word for name, one in fixed.items() for word in (f"--{name}", str(one))]
        sets = [word for name, one in self._settings.items() for word in ("--set", f"{name}={one}")]
        verb = (sys.executable, "-m", "aufleet.cli", "train", "--json", "--out", out.uri)
        self._command = [*verb, *options, *sets]

    def start(self, **environment: str) -> subprocess.Popen[str]:
        """Start it; it reaches the store as this process does."""
        return subprocess.Popen(
            self._command,
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )


def failing(verb: Verb, proxy: FaultProxy, chance: random.Random) -> tuple[bool, str]:
    """Let a tenth of the requests fail."""
    return _ends_well(verb, proxy, rate=0.1)


def stalling(verb: Verb, proxy: FaultProxy, chance: random.Random) -> tuple[bool, str]:
    """Let a tenth of the requests stall or crawl."""
    proxy.modes = ("stall", "slow")
    return _ends_well(verb, proxy, rate=0.1)


def away_for_a_while(verb: Verb, proxy: FaultProxy, chance: random.Random) -> tuple[bool, str]:
    """Let nobody listen for half a minute."""
    running = verb.start()
    time.sleep(chance.uniform(0, 12))
    proxy.away = True
    back = threading.Timer(AWAY_S, setattr, (proxy, "away", False))
    back.start()
    _, said = running.communicate()
    back.join()
    return running.returncode == 0, f"exit {running.returncode} {said.strip()}"


def away_for_good(verb: Verb, proxy: FaultProxy, chance: random.Random) -> tuple[bool, str]:
    """Let nobody listen any more, until the verb has given up."""
    running = verb.start(AUFLEET_STORE_DEADLINE_S=DEADLINE_S)
    time.sleep(chance.uniform(4, 12))
    proxy.away = True
    _, said = running.communicate()
    proxy.away = False
    lines = said.strip().splitlines()
    if running.returncode == 0:
        return True, "it had ended before"
    if running.returncode != 1 or len(lines) != 1 or not lines[0].startswith("error "):
        return False, f"exit {running.returncode}, {len(lines)} lines: {lines[-1:]}"
    well, again = _ends_well(verb, proxy, rate=0.0)
    return well, f"{lines[0]} | {again}"


def _ends_well(verb: Verb, proxy: FaultProxy, *, rate: float) -> tuple[bool, str]:
    proxy.rate = rate
    running = verb.start()
    _, said = running.communicate()
    proxy.rate = 0.0
    told = f"exit {running.returncode}, {proxy.num_faults} of {len(proxy.requests)} requests failed"
    return running.returncode == 0, f"{told} {said.strip()}".strip()


CASES: dict[str, Callable[[Verb, FaultProxy, random.Random], tuple[bool, str]]] = {
    "one in ten fails": failing,
    "one in ten stalls": stalling,
    "away for 30 s": away_for_a_while,
    "away for good": away_for_good,
}


def main() -> int:
    """Run the rounds."""
    options = parse(__doc__ or "", count=12)
    home = options.work / "store"
    home.mkdir(exist_ok=True)
    state = start_store(home)
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = state.credentials_file
    os.environ["AWS_CONFIG_FILE"] = state.config_file
    try:
        return _rounds(open_store(f"{state.root}/chaos"), state.endpoint, options)
    finally:
        stop_store(home)


def _rounds(root: Store, endpoint: str, options: object) -> int:
    settings = settings_of(dataset_of(root), epochs=EPOCHS)
    place = _place(settings)
    expected = root.child("whole")
    if not whole_epochs(expected.child(place)):
        assert Verb(settings, expected).start().wait() == 0

    def one(number: int) -> Outcome:
        kind = list(CASES)[number % len(CASES)]
        chance = random.Random(options.seed * 1000 + number)  # type: ignore[attr-defined]
        out = root.child(f"round-{number}-{os.getpid()}")
        # A cache of its own, so that the frames come through the proxy as well.
        cache = options.work / f"cache-{number}"  # type: ignore[attr-defined]
        os.environ["AUFLEET_CACHE_DIR"] = str(cache)
        with fault_proxy(endpoint, seed=number) as proxy, through(proxy):
            well, said = CASES[kind](Verb(settings, out), proxy, chance)
        same = last_bytes(out.child(place)) == last_bytes(expected.child(place))
        said += "" if same else "; bits DIFFER"
        return Outcome(ok=well and same, kind=kind, said=said)

    return run_rounds(one, count=options.count, work=options.work)  # type: ignore[attr-defined]


def _place(settings: dict) -> str:
    trial = TrialConfig.from_settings(settings | {"task": "au"})
    return f"trials/{trial.model}/{trial.config_id}/fold{trial.fold}"


if __name__ == "__main__":
    raise SystemExit(main())
