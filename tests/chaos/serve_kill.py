"""SIGKILL of one process of a service under load: analyzer, aligner, gateway, both controllers.

    .venv/bin/python tests/chaos/serve_kill.py --count 100
    .venv/bin/python tests/chaos/serve_kill.py --count 20 --analyzers 1 --gateways 1

Two analyzers and two gateways run. Promise: no request is lost; the process comes back by itself.
The longest time without an answer is printed: with one of each that is how long recovery takes.
"""

import asyncio
import sys
import time

from kit.rounds import Outcome, parse, run_rounds  # isort: skip - it sets the path
from kit.load import Tally, Target, aligned_frame, call_until, detect, portrait
from kit.services import TITLES, Chaos, small_service

CALLERS, PHOTO_CALLERS = 4, 1
BEFORE_S, AFTER_S = 1.0, 2.0
RECOVERY_S = 90.0


def main() -> int:
    """Run the rounds."""
    options = parse(
        __doc__ or "",
        count=20 * len(TITLES),
        analyzers={"type": int, "default": 2, "help": "processes of the model version"},
        gateways={"type": int, "default": 2, "help": "processes that share the port"},
        parts={"nargs": "+", "default": list(TITLES), "choices": list(TITLES), "help": "to kill"},
    )
    sizes = {"analyzer": options.analyzers, "gateway": options.gateways}
    flags = [word for part, size in sizes.items() for word in (f"--{part}s", str(size))]
    with small_service(options.work, *flags) as chaos:
        counts = dict.fromkeys(TITLES, 1) | sizes
        chaos.await_parts(counts)

        def one(number: int) -> Outcome:
            part = options.parts[number % len(options.parts)]
            tally, recovery_s = asyncio.run(_round(chaos, part, which=number, counts=counts))
            wrong = [] if not tally.lost else [f"lost: {tally.lost[0]}"]
            if recovery_s > RECOVERY_S:
                wrong.append("it did not come back")
            told = (
                f"{tally}; longest gap {tally.longest_gap_s:.1f} s, back after {recovery_s:.1f} s"
            )
            return Outcome(ok=not wrong, kind=part, said="; ".join([*wrong, told]))

        return run_rounds(one, count=options.count, work=options.work)


async def _round(
    chaos: Chaos, part: str, *, which: int, counts: dict[str, int]
) -> tuple[Tally, float]:
    """Kill one process under load; returns what callers saw and how long it was away."""
    target, stop = Target.of(chaos.service.ready_file), asyncio.Event()
    asks = {detect(aligned_frame()): CALLERS, detect(portrait()): PHOTO_CALLERS}
    loads = [
        asyncio.create_task(call_until(stop, target, ask, callers=callers))
        for ask, callers in asks.items()
    ]
    try:
        await asyncio.sleep(BEFORE_S)
        gone = await asyncio.to_thread(chaos.kill, part, which=which)
        began = time.monotonic()
        await asyncio.to_thread(chaos.await_parts, counts, gone=gone)
        recovery_s = time.monotonic() - began
        await asyncio.sleep(AFTER_S)
    finally:
        stop.set()
        tallies = await asyncio.gather(*loads)
    return sum(tallies, start=Tally()), recovery_s


if __name__ == "__main__":
    sys.exit(main())
