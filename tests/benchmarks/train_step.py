"""Training steps of each network at full width: python tests/benchmarks/train_step.py.

One step is forward, loss, backward and SGD with Nesterov's momentum on a batch of synthetic faces.
"""

import argparse
import statistics
from collections.abc import Mapping

import torch
from reference.machine import peak_memory, timed
from reference.networks import BP4D, Faces
from rich.console import Console
from rich.table import Table
from torch import Tensor

from aufleet_models import FaceModel, build_model, list_models

OPTIONS: Mapping[str, dict] = {"lpnet": {"num_points": 49}}
console = Console(width=110)


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batch = next(Faces(subjects=1, frames=arguments.batch, seed=2).batches(arguments.batch))
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("model")
    for column in ("parameters", "images/s", "of jaanet's", "MiB/image"):
        table.add_column(column, justify="right")
    rows = {name: _measure(name, batch, device, arguments.rounds) for name in arguments.models}
    base = rows.get("jaanet", next(iter(rows.values())))[1]
    for name, (parameters, speed, memory) in rows.items():
        table.add_row(
            name, f"{parameters:,}", f"{speed:.2f}", f"{speed / base:.2f}", f"{memory:.0f}"
        )
    console.print(f"{device}, batch {arguments.batch}, {arguments.threads} threads, fp32")
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=list_models())
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def _measure(
    name: str, batch: Mapping[str, Tensor], device: str, rounds: int
) -> tuple[int, float, float]:
    """Return the parameters, images a second, and MiB for each image of a step."""
    torch.manual_seed(0)
    model = build_model(name, task="au", units=BP4D, **OPTIONS.get(name, {})).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True)
    step = _step(model, optimizer, batch)
    step()  # gradients and momentum have their place from here on
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        memory = (torch.cuda.max_memory_allocated() - before) / 2**20
    else:
        memory = peak_memory(step)
    size = len(batch["frames"])
    seconds = statistics.median(timed(step) for _ in range(rounds))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return parameters, size / seconds, memory / size


def _step(model: FaceModel, optimizer: torch.optim.Optimizer, batch: Mapping[str, Tensor]):
    def run() -> None:
        optimizer.zero_grad(set_to_none=False)
        model.loss(model(batch["frames"], batch["landmarks"]), batch)["total"].backward()
        optimizer.step()
        if batch["frames"].is_cuda:
            torch.cuda.synchronize()

    return run


if __name__ == "__main__":
    main()
