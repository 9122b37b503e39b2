"""Rounds of a program that breaks things: counted, printed as they end, gone on with after a stop.

Each round's outcome is one line of `<work>/rounds.jsonl`. The same command goes on after the last
whole round; another `--work` starts anew.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `painted`, `faults`


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a round ended.

    Attributes:
        ok: The promise held.
        kind: What was done; counted apart.
        said: One line about it.
    """

    ok: bool
    kind: str
    said: str


Round = Callable[[int], Outcome]


def parse(description: str, *, count: int, **further: Mapping[str, Any]) -> argparse.Namespace:
    """Return `count` and `work` of the command line; the folder exists.

    From here on SIGTERM ends the program as Ctrl-C does: what it has started ends with it.

    Args:
        description: The program's.
        count: Rounds where the command line says nothing.
        further: Option -> what `add_argument` takes.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=count, help="rounds in all")
    parser.add_argument("--seed", type=int, default=0, help="decides every random moment")
    name = Path(sys.argv[0]).stem
    parser.add_argument(
        "--work", type=Path, default=Path(f".aufleet/chaos/{name}"), help="state of the rounds"
    )
    for option, facts in further.items():
        parser.add_argument(f"--{option}", **facts)
    options = parser.parse_args()
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    return options


def run_rounds(one: Round, *, count: int, work: Path) -> int:
    """Run the rounds that are left; return an exit code: 1 where a promise did not hold."""
    done = read_outcomes(work)
    if done:
        print(f"{len(done)} of {count} rounds were done before", flush=True)
    for number in range(len(done), count):
        began = time.monotonic()
        outcome = one(number)
        seconds = time.monotonic() - began
        with (work / "rounds.jsonl").open("a") as file:
            file.write(json.dumps(vars(outcome) | {"seconds": round(seconds, 1)}) + "\n")
        done.append(outcome)
        good = sum(each.ok for each in done)
        mark = "ok  " if outcome.ok else "FAIL"
        print(
            f"{mark} {number + 1}/{count} ({good} good) {outcome.kind}: {outcome.said} "
            f"[{seconds:.0f} s]",
            flush=True,
        )
    return _summary(done, count=count)


def read_outcomes(work: Path) -> list[Outcome]:
    """Return the outcomes of the rounds so far."""
    file = work / "rounds.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    found = [json.loads(line) for line in lines]
    return [Outcome(ok=one["ok"], kind=one["kind"], said=one["said"]) for one in found]


def _summary(done: list[Outcome], *, count: int) -> int:
    kinds = dict.fromkeys(one.kind for one in done)
    for kind in kinds:
        mine = [one for one in done if one.kind == kind]
        print(f"{kind}: {sum(one.ok for one in mine)} of {len(mine)}")
    failed = [one for one in done if not one.ok]
    for one in failed:
        print(f"failed: {one.kind}: {one.said}")
    return 1 if failed or len(done) < count else 0
