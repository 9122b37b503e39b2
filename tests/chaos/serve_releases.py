"""Aliases that move and gateways that are replaced under load.

    .venv/bin/python tests/chaos/serve_releases.py --count 30

In turn: a champion that nobody has loaded before, a rollback to the version before, a champion that
is damaged, MLflow and the store away while an analyzer is killed, a gateway that is replaced.
Promise: the first three without one failed attempt, the first two within 5 s of the alias's move; a
damaged version is named and the old one serves; away and gateway lose no request.
"""

import asyncio
import sys
import time

from kit.rounds import Outcome, parse, run_rounds  # isort: skip - it sets the path
from kit.load import Tally, Target, aligned_frame, call_until, detect
from kit.services import MODEL, Chaos, small_service

CALLERS = 4
PATIENCE_S = 120.0
MOVE_S = 5.0
KINDS = ("new version", "rollback", "damaged", "away", "gateway")


def main() -> int:
    """Run the rounds."""
    options = parse(__doc__ or "", count=30)
    with small_service(options.work, "--analyzers", "2") as chaos:
        chaos.await_parts({"releases": 1})

        def one(number: int) -> Outcome:
            kind = KINDS[number % len(KINDS)]
            return asyncio.run(_round(chaos, kind))

        return run_rounds(one, count=options.count, work=options.work)


async def _round(chaos: Chaos, kind: str) -> Outcome:
    await asyncio.to_thread(chaos.service.await_place)
    stop = asyncio.Event()
    load = asyncio.create_task(
        call_until(
            stop, Target.of(chaos.service.ready_file), detect(aligned_frame()), callers=CALLERS
        )
    )
    try:
        await asyncio.sleep(1)
        began = time.monotonic()
        moves = {"new version": chaos.publish, "rollback": chaos.roll_back}
        if kind in moves:
            version = await asyncio.to_thread(moves[kind])
            began = time.monotonic()
            seconds = await _seen(chaos, version) - began
        else:
            await asyncio.to_thread(
                {
                    "damaged": chaos.publish_damaged,
                    "away": chaos.lose_registry_and_store,
                    "gateway": chaos.replace_gateway,
                }[kind]
            )
            seconds = time.monotonic() - began
        await asyncio.sleep(1)
    finally:
        stop.set()
        tally = await load
    return Outcome(
        ok=_holds(kind, tally, seconds=seconds),
        kind=kind,
        said=f"after {seconds:.1f} s; {tally}; versions {dict(tally.versions)}",
    )


def _holds(kind: str, tally: Tally, *, seconds: float) -> bool:
    if kind in ("away", "gateway"):
        return not tally.lost
    if kind == "damaged":
        return tally.num_failed_attempts == 0 and len(tally.versions) == 1
    return tally.num_failed_attempts == 0 and len(tally.versions) == 2 and seconds <= MOVE_S


async def _seen(chaos: Chaos, wanted: str) -> float:
    """Return when a caller is first answered by a version."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = await asyncio.to_thread(chaos.service.detect, aligned_frame(), model=MODEL)
        if answer.version == wanted:
            break
        await asyncio.sleep(0.05)
    return time.monotonic()


if __name__ == "__main__":
    sys.exit(main())
