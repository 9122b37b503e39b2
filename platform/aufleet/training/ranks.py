"""The process group of a trial's ranks, kept over trials.

Several ranks meet at an address that their starter hands out: `listen` on rank 0's machine gives
one. There is no authentication on a process group: it belongs on a trusted network only.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlsplit

import torch
import torch.distributed as dist
from torch import Tensor

from aufleet.errors import ConfigError

T = TypeVar("T")

TIMEOUT_S = 600.0
"""A rank that waits longer for the others fails: they are gone."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process's place among the processes that train together.

    Attributes:
        rank: 0 to size - 1; rank 0 writes and reports.
        size: How many there are.
    """

    rank: int
    size: int

    @property
    def is_first(self) -> bool:
        """Whether this rank writes and reports."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Where this rank computes."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))

    def sum(self, values: Tensor) -> Tensor:
        """Return the element-wise sum over all ranks, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows (n, ...) of all ranks one after another, on the CPU, on every rank.

        The ranks may hold different numbers of rows.
        """
        rows = rows.cpu().contiguous()
        if self.size == 1:
            return rows
        counts = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(counts, torch.tensor([len(rows)]))
        longest = max(int(count) for count in counts)
        padded = rows.new_zeros((longest, *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return torch.cat([part[: int(n)] for part, n in zip(parts, counts, strict=True)])

    def from_first(self, compute: Callable[[], T]) -> T:
        """Return on every rank what `compute` returns on rank 0; what it raises, all raise.

        So the others do not wait for a rank 0 that met a store that is away.
        """
        if self.size == 1:
            return compute()
        answer: list = [None, None]
        if self.is_first:
            try:
                answer[0] = compute()
            except Exception as error:
                answer[1] = error
        dist.broadcast_object_list(answer, device=torch.device("cpu"))
        if answer[1] is not None:
            raise answer[1]
        return answer[0]


_joined: Ranks | None = None
_listening: dict[str, dist.TCPStore] = {}


def listen(host: str = "127.0.0.1") -> str:
    """Open a meeting point on a free port of this machine and return its address.

    Call it in rank 0's process, hand the address to all ranks, then let all call `join_ranks`.

    Args:
        host: Name or address by which the other ranks reach this machine.
    """
    store = dist.TCPStore(
        host, 0, is_master=True, timeout=timedelta(seconds=TIMEOUT_S), wait_for_workers=False
    )
    address = f"tcp://{host}:{store.port}"
    _listening[address] = store
    return address


def join_ranks(
    *, rank: int = 0, size: int = 1, address: str | None = None, timeout_s: float = TIMEOUT_S
) -> Ranks:
    """Join the process group of a trial, or return the one that this process already joined.

    Args:
        rank: Of this process.
        size: Number of processes.
        address: Where the ranks meet: what `listen` returned, "tcp://host:port" (rank 0 then
            listens there) or "file:///path/that/does/not/exist/yet"; unused by a single rank.
        timeout_s: A collective call that waits longer fails.

    Raises:
        ConfigError: No address for several ranks, or another group is joined already.
    """
    global _joined
    wanted = Ranks(rank=rank, size=size)
    if _joined is not None:
        if _joined != wanted:
            raise ConfigError(
                f"this process is rank {_joined.rank} of {_joined.size} already",
                f"start another process for rank {rank} of {size}",
            )
        return _joined
    gpus = torch.cuda.device_count()
    os.environ.setdefault("LOCAL_RANK", str(rank % gpus if gpus else rank))  # DeepSpeed asks for it
    if gpus:
        torch.cuda.set_device(wanted.device)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if gpus else "gloo",
        store=_meet(wanted, address=address, timeout=timedelta(seconds=timeout_s)),
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=timeout_s),
    )
    _joined = wanted
    return wanted


def leave_ranks() -> None:
    """Leave the process group; the process may join another one afterwards."""
    global _joined
    if _joined is None:
        return
    dist.destroy_process_group()
    _listening.clear()
    _joined = None
    _forget_in_deepspeed()


def _meet(ranks: Ranks, *, address: str | None, timeout: timedelta) -> dist.Store:
    if ranks.size == 1:
        return dist.HashStore()
    if address is None:
        raise ConfigError(f"{ranks.size} ranks need an address to meet at", "see ranks.listen")
    if ranks.is_first and address in _listening:
        return _listening[address]
    where = urlsplit(address)
    if where.scheme == "file":
        return dist.FileStore(where.path, ranks.size)
    if where.scheme != "tcp" or where.hostname is None or where.port is None:
        raise ConfigError(f"ranks cannot meet at {address!r}", "it is tcp://host:port or file://")
    return dist.TCPStore(
        where.hostname, where.port, ranks.size, is_master=ranks.is_first, timeout=timeout
    )


def _forget_in_deepspeed() -> None:
    """Let DeepSpeed find the next group: it keeps the first one it saw."""
    import sys

    if comm := sys.modules.get("deepspeed.comm.comm"):
        vars(comm)["cdb"] = None
