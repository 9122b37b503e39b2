"""One driver at a time: a lease on an experiment, with a number that only grows.

    <experiment>/lease/000003.json          claimed by one driver, once: its fencing number
                      /000003.alive.json    renewed by that driver, and by no other

A driver that does not renew its lease in time loses it to the next one that asks. No clock is
compared with that of another machine: who asks watches whether the renewals go on. The fencing
number stands in every key that the driver writes, so that what a paused driver writes after it lost
the lease can be told from what counts: see `ledger`.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aufleet.errors import (
    AlreadyExistsError,
    AufleetError,
    ConfigError,
    ObjectMissingError,
    StoreError,
)
from aufleet.storage import Store

_log = logging.getLogger(__name__)
DURATION_VARIABLE = "AUFLEET_LEASE_S"
DEFAULT_DURATION_S = 30.0
_RENEWALS = 6
"""Renewals within a lease's duration."""


class LeaseLostError(AufleetError):
    """Another driver has taken the experiment over."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lease."""

    host: str
    pid: int
    space: str
    """Names the machine's boot and process space in which the number means a process."""

    @classmethod
    def this(cls) -> "Holder":
        """Return this process."""
        boot = Path("/proc/sys/kernel/random/boot_id")
        name = boot.read_text().strip() if boot.exists() else ""
        with suppress(OSError):
            name += f"-{os.stat('/proc/self/ns/pid').st_ino}"
        return cls(host=socket.gethostname(), pid=os.getpid(), space=name)

    def is_gone(self) -> bool:
        """Return whether it is known to have ended: only where its process could be seen."""
        if not self.space or self.space != Holder.this().space:
            return False
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return True
        return stat.rpartition(")")[2].split()[0] == "Z"  # killed, and not yet waited for


@dataclass(kw_only=True)
class Lease:
    """A lease that this process holds; see `hold`."""

    store: Store
    fence: int
    duration_s: float
    usage: dict[str, float] = field(default_factory=dict)
    """What earlier drivers used, then what the search has used so far; kept with each renewal."""
    _renewed: float = field(default_factory=time.monotonic)
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Return if this process may write; renew the lease first where it ran out.

        Raises:
            LeaseLostError: Another driver has taken over.
        """
        if time.monotonic() - self._renewed >= self.duration_s:
            self.renew()

    def renew(self, *, released: bool = False) -> None:
        """Say that this driver lives, or that it has ended.

        Raises:
            LeaseLostError: Another driver has taken over.
        """
        with self._lock:
            asked = time.monotonic()
            if _newest(self.store) > self.fence:
                raise LeaseLostError(
                    f"another driver has taken over the experiment at {self.store.uri}",
                    "this one was silent for too long; nothing that it wrote since then counts",
                )
            self._count += 1
            alive = {"count": self._count, "released": released, "usage": self.usage}
            self.store.write(_alive_key(self.fence), json.dumps(alive).encode())
            self._renewed = asked

    def start(self) -> None:
        """Renew it from now on, in a thread."""
        threading.Thread(target=self._keep, name="lease", daemon=True).start()

    def release(self) -> None:
        """Let the next driver start at once; a lease that was lost is left alone."""
        self._ended.set()
        with suppress(LeaseLostError, StoreError):
            self.renew(released=True)

    def _keep(self) -> None:
        while not self._ended.wait(self.duration_s / _RENEWALS):
            try:
                self.renew()
            except LeaseLostError:
                self._renewed = float("-inf")  # the next check finds it too, and raises
                return
            except Exception:
                continue  # the store is away; the next check decides


def hold(
    store: Store,
    *,
    duration_s: float | None = None,
    holder: Holder | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Lease:
    """Take the lease of an experiment, and renew it until `release`.

    Waits up to a lease's duration for a driver that may have died.

    Args:
        store: The experiment's store.
        duration_s: Silence after which a driver has lost its lease.
        holder: Who asks; None for this process.
        sleep: Waits.

    Raises:
        ConfigError: Another driver runs the experiment.
    """
    given = float(os.environ.get(DURATION_VARIABLE, DEFAULT_DURATION_S))
    duration_s = duration_s or given
    holder = holder or Holder.this()
    while True:
        last = _newest(store)
        if last:
            _await_end(store, last, duration_s=duration_s, sleep=sleep)
        claim = json.dumps(holder.__dict__).encode()
        try:
            store.write_new(_key(last + 1), claim)
        except AlreadyExistsError:
            continue  # another one was faster, and is alive
        usage = _read(store, _alive_key(last)).get("usage", {}) if last else {}
        lease = Lease(store=store, fence=last + 1, duration_s=duration_s, usage=usage)
        lease.renew()
        lease.start()
        return lease


def _await_end(
    store: Store, fence: int, *, duration_s: float, sleep: Callable[[float], None]
) -> None:
    """Return when a lease has been released or has run out."""
    holder = Holder(**_read(store, _key(fence)))
    first = _read(store, _alive_key(fence))
    if first.get("released") or holder.is_gone():
        return
    _log.warning(
        "process %d on %s runs the experiment, or has died: waiting %.0f s for a sign of life",
        *(holder.pid, holder.host, duration_s),
    )
    waited_s, step_s = 0.0, duration_s / _RENEWALS
    while waited_s <= duration_s:
        sleep(step_s)
        waited_s += step_s
        now = _read(store, _alive_key(fence))
        if now.get("released") or holder.is_gone():
            return
        if now.get("count") != first.get("count"):
            raise ConfigError(
                f"process {holder.pid} on {holder.host} runs the experiment at {store.uri}",
                "wait for it to end, or stop it",
            )


def _newest(store: Store) -> int:
    """Return the highest fencing number, or 0."""
    numbers = [key.removeprefix("lease/").removesuffix(".json") for key in store.keys("lease/")]
    return max((int(one) for one in numbers if one.isdigit()), default=0)


def _read(store: Store, key: str) -> dict[str, Any]:
    try:
        return json.loads(store.read(key))
    except ObjectMissingError:
        return {}


def _key(fence: int) -> str:
    return f"lease/{fence:06d}.json"


def _alive_key(fence: int) -> str:
    return f"lease/{fence:06d}.alive.json"
