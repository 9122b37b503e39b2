"""Many trials in turn in one process, as a reused actor runs them.

    .venv/bin/python tests/chaos/reused_actor.py --count 20

Promise: stages 0, 3, 0 and two families in turn give the bits of fresh processes, and after 200
trials memory, threads and open files are those of the first ones.
"""

import hashlib
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import psutil

from kit.rounds import Outcome, parse, run_rounds  # isort: skip - it sets the path
from kit.trials import dataset_of, last_bytes, local_root, run_whole, settings_of

from aufleet.storage import Store

FAMILIES: tuple[dict[str, Any], ...] = (
    {"model": "resnet18", "width": 0.0625},
    {"model": "jaanet", "width": 0.0625},
)
STAGES = (0, 3, 0, 1, 2)
TRIALS = 2 * len(STAGES)
"""Trials of a round: every family at every stage."""
WARM = 20
"""Trials after which everything that is loaded once has been loaded."""
MEMORY_MIB = 100.0
"""How much more memory the last tenth of the trials may take than the first ones did."""

FRESH = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from kit.trials import run_whole
from aufleet.storage import open_store
run_whole(json.loads(sys.argv[2]), open_store(sys.argv[3]))
"""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What the process holds."""

    memory_mib: float
    threads: int
    files: int

    @classmethod
    def now(cls) -> "Usage":
        """Return the present."""
        process = psutil.Process()
        return cls(
            memory_mib=process.memory_info().rss / 2**20,
            threads=process.num_threads(),
            files=process.num_fds(),
        )


def fresh_digest(settings: dict[str, Any], store: Store) -> str:
    """Return the digest that a process of its own comes to."""
    command = [sys.executable, "-W", "ignore", "-c", FRESH, json.dumps(sys.path)]
    subprocess.run([*command, json.dumps(settings), store.uri], check=True)
    return digest(store)


def digest(store: Store) -> str:
    """Return a digest of the last weights and optimizer state."""
    found = last_bytes(store)
    assert found is not None, store.uri
    return hashlib.sha256(b"".join(found)).hexdigest()[:16]


def main() -> int:
    """Run the rounds; a program that was stopped begins a new process and so counts anew."""
    options = parse(__doc__ or "", count=20)
    (options.work / "rounds.jsonl").unlink(missing_ok=True)
    root = local_root(options.work)
    dataset = dataset_of(root)
    expected: dict[str, str] = {}
    usages: list[Usage] = []
    place = f"runs-{psutil.Process().pid}"

    def trial(number: int) -> bool:
        # Families in turn, so that no two trials after each other are alike.
        family, stage = FAMILIES[number % 2], STAGES[number // 2 % len(STAGES)]
        name = f"{family['model']}-stage{stage}"
        settings = settings_of(dataset, **family, zero_stage=stage, epochs=1)
        if name not in expected:
            expected[name] = fresh_digest(settings, root.child(f"{place}/fresh-{name}"))
        store = root.child(f"{place}/{number}")
        run_whole(settings, store)
        found = digest(store)
        for key in store.keys(""):
            store.delete(key)
        usages.append(Usage.now())
        return found == expected[name]

    def one(number: int) -> Outcome:
        same = [trial(number * TRIALS + each) for each in range(TRIALS)]
        now = usages[-1]
        said = f"{sum(same)} of {TRIALS} trials have the bits of fresh processes; "
        said += f"{now.memory_mib:.0f} MiB, {now.threads} threads, {now.files} files"
        return Outcome(ok=all(same), kind="ten trials", said=said)

    code = run_rounds(one, count=options.count, work=options.work)
    return code or judge(usages)


def judge(usages: list[Usage]) -> int:
    """Print how the process grew; return 1 where it did."""
    if len(usages) <= 2 * WARM:
        print(f"growth is judged from {2 * WARM + 1} trials on")
        return 0
    first, last = usages[WARM : 2 * WARM], usages[-WARM:]
    grown = {
        name: statistics.median(getattr(one, name) for one in last)
        - statistics.median(getattr(one, name) for one in first)
        for name in ("memory_mib", "threads", "files")
    }
    print("growth " + ", ".join(f"{name} {value:+.1f}" for name, value in grown.items()))
    flat = grown["memory_mib"] < MEMORY_MIB and grown["threads"] <= 0 and grown["files"] <= 0
    print("flat" if flat else "NOT flat")
    return 0 if flat else 1


if __name__ == "__main__":
    raise SystemExit(main())
