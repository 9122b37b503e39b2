"""Small real trials for the programs of this folder: a catalog network on painted faces."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aufleet.storage import Store, open_store
from aufleet.training import EpochReport, TrialConfig, run_trial
from aufleet.training.checkpoints import INDEX


def dataset_of(root: Store) -> str:
    """Return the URI of the painted data set below a root; it is published where it lacks."""
    from painted import publish_painted

    if root.exists("datasets/painted/1/manifest.json"):
        return root.uri_of("datasets/painted/1")
    return publish_painted(root)


def settings_of(dataset: str, **others: Any) -> dict[str, Any]:
    """Return the settings of a trial whose epochs take a moment; the last batch is uneven."""
    small = {"model": "resnet18", "width": 0.0625, "fold": 2, "epochs": 6, "batch": 8}
    return small | {"dataset": dataset, "learning_rate": 0.02} | others


def run_whole(settings: dict[str, Any], store: Store) -> None:
    """Run a trial of one rank in this process, without any disturbance."""
    config = TrialConfig.from_settings(settings)
    run_trial(config, store=store, report=lambda report: True)


def last_bytes(store: Store) -> tuple[bytes, bytes] | None:
    """Return the weights and the optimizer's state of the last whole checkpoint, or None."""
    whole = whole_epochs(store)
    if not whole:
        return None
    key = whole[max(whole)]
    return store.read(f"{key}/model.safetensors"), store.read(f"{key}/optimizer.safetensors")


def whole_epochs(store: Store) -> dict[int, str]:
    """Return epoch -> folder of the whole checkpoints that are in a trial's store."""
    folders = [key.rpartition("/")[0] for key in store.keys("") if key.endswith(f"/{INDEX}")]
    return {int(folder.rpartition("-")[2]): folder for folder in sorted(folders)}


def noting(folder: Path, run: Callable[..., Any] = run_trial) -> Callable[..., Any]:
    """Return a `run_trial` that leaves, in a folder, who runs which rank and what is reported."""

    def noted(config: TrialConfig, *, store: Store, report: Any, ranks: Any = None) -> Any:
        import json
        import os
        import time

        rank = 0 if ranks is None else ranks.rank
        (folder / f"rank-{rank}-{os.getpid()}").touch()

        def told(epoch: EpochReport) -> bool:
            with (folder / "reports.jsonl").open("a") as file:
                line = {"pid": os.getpid(), "epoch": epoch.epoch, "at": time.time()}
                file.write(json.dumps(line) + "\n")
            return report(epoch)

        return run(config, store=store, report=told, ranks=ranks)

    return noted


def reported(folder: Path) -> list[dict[str, Any]]:
    """Return what was reported, in its order."""
    file = folder / "reports.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def local_root(work: Path) -> Store:
    """Return a root in the folder of a program's state."""
    return open_store(str(work / "root"))
