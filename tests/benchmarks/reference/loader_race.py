"""What `loader.py` runs: the data thrice, the competitors in turns, the tables."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import boto3
import cv2
import numpy as np
import torch
from reference.loader_peers import (
    Folder,
    count_of,
    folder_loader,
    tar_of,
    webdataset_loader,
)

# The proxy that counts requests lives with the tests of faults.
sys.path.append(str(Path(__file__).parents[2]))
from faults.proxy import fault_proxy, through

from aufleet.data.cache import NodeCache
from aufleet.data.dataset import Dataset, open_dataset
from aufleet.data.loader import FoldLoader
from aufleet.data.publish import DatasetSpec, publish_dataset
from aufleet.data.records import FrameRecord
from aufleet.data.streaming import start_decoders
from aufleet.data.synthetic import SyntheticSettings, render_subject
from aufleet.storage import Store, open_store
from aufleet.storage.local_server import StoreState, start_store, stop_store

BATCH = 32
WARM_TARGET, COLD_TARGET = 1.0, 1.5
EPOCHS = 20
GROWTH_MIB = 16
"""What private memory may grow by from epochs 5 to 9 to the last five: a batch has 11."""
UNITS = (1, 2, 12)
DRAWN = 4
"""Frames of a subject that are drawn; the others are these, moved and lit otherwise."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all competitors share."""

    dataset: Dataset
    folder: Folder
    urls: tuple[str, ...]
    work: Path
    workers: int

    def loader(self, cache: str, *, keep_decoded_bytes: int = 0) -> FoldLoader:
        """Return our loader of all subjects with a cache of its own."""
        return FoldLoader(
            self.dataset,
            subjects=self.dataset.manifest.subjects,
            batch=BATCH,
            seed=0,
            augment=True,
            cache=NodeCache(folder=self.work / cache),
            workers=self.workers,
            keep_decoded_bytes=keep_decoded_bytes,
        )


def subjects(num_subjects: int, frames: int) -> Iterator[tuple[str, list[FrameRecord]]]:
    """Yield subjects; a few frames of each are drawn, the others made from them."""
    settings = SyntheticSettings(
        num_subjects=num_subjects, frames_per_subject=DRAWN, units=UNITS, seed=0
    )
    random = np.random.default_rng(0)
    for number in range(num_subjects):
        name, drawn = render_subject(settings, number)
        pictures = [cv2.imdecode(np.frombuffer(one.jpeg, np.uint8), 1) for one in drawn]
        yield (
            name,
            [
                _varied(drawn[row % DRAWN], pictures[row % DRAWN], row, random)
                for row in range(frames)
            ],
        )


def _varied(
    record: FrameRecord, picture: np.ndarray, row: int, random: np.random.Generator
) -> FrameRecord:
    shift = random.integers(-4, 5, 2)
    moved = np.roll(picture, shift[::-1], axis=(0, 1))
    lit = np.clip(moved * random.uniform(0.8, 1.2) + random.normal(0, 3, moved.shape), 0, 255)
    jpeg = cv2.imencode(".jpg", lit.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    return FrameRecord(
        subject=record.subject,
        sequence="T1",
        frame=row,
        jpeg=jpeg.tobytes(),
        landmarks=record.landmarks + shift.astype(np.float32),
        landmark_source="exact",
        units=record.units,
    )


def prepare(state: StoreState, work: Path, options: argparse.Namespace) -> Setting:
    """Publish the data set, the folder and the tar shards: the same JPEGs thrice."""
    store = open_store(f"{state.root}/bench")
    spec = DatasetSpec(name="faces", version="1", units=UNITS, source="bench", seed=0)
    (work / "folder").mkdir()
    files, numbers, urls = [], [], []

    def published() -> Iterator[tuple[str, list[FrameRecord]]]:
        for name, records in subjects(options.subjects, options.frames):
            mine = [_numbers(record) for record in records]
            for row, record in enumerate(records):
                file = work / "folder" / f"{name}-{row:05d}.jpg"
                file.write_bytes(record.jpeg)
                files.append(file)
            numbers.extend(mine)
            pairs = [(record.jpeg, one) for record, one in zip(records, mine, strict=True)]
            urls.extend(_tars(store, state, name, pairs))
            yield name, records

    publish_dataset(published(), spec=spec, store=store)
    return Setting(
        dataset=open_dataset(store.uri_of("datasets/faces/1")),
        folder=Folder(files, np.stack(numbers)),
        urls=tuple(urls),
        work=work,
        workers=options.workers,
    )


def _tars(
    store: Store, state: StoreState, name: str, pairs: list[tuple[bytes, np.ndarray]]
) -> list[str]:
    """Write one shard for each subject, as the partitions are, and return its address."""
    key = f"tars/{name}.tar"
    store.write(key, tar_of(pairs, name=name))
    client = boto3.client("s3", endpoint_url=state.endpoint)
    bucket, _, prefix = store.uri.removeprefix("s3://").partition("/")
    return [
        client.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": f"{prefix}/{key}"}, ExpiresIn=7200
        )
    ]


def _numbers(record: FrameRecord) -> np.ndarray:
    return np.concatenate([record.landmarks.ravel(), record.units]).astype(np.float32)


def rate_of(batches: Callable[[], Iterable[int]]) -> float:
    """Return frames per second from the call to the last batch."""
    began = time.perf_counter()
    return sum(batches()) / (time.perf_counter() - began)


def ours(loader: FoldLoader, epoch: int = 0) -> Iterator[int]:
    """Yield the number of frames of each batch."""
    return (len(batch["index"]) for batch in loader.epoch(epoch))


def compete(setting: Setting, rounds: int) -> dict[str, float]:
    """Return the best rate of each competitor; they take turns."""
    # The process that decoders are forked from, as the peers' are from this one.
    start_decoders()
    folder = folder_loader(setting.folder, batch=BATCH, workers=setting.workers)
    sets = webdataset_loader(setting.urls, batch=BATCH, workers=setting.workers)
    warm, kept = setting.loader("warm"), setting.loader("warm", keep_decoded_bytes=2**33)
    best: dict[str, float] = {}
    # The first turn starts processes and fills the page cache.
    for turn in range(-1, rounds):
        rates = {
            "cold, decoded for each epoch": rate_of(
                lambda turn=turn: ours(setting.loader(f"cold{turn}"))
            ),
            "cold, kept decoded": rate_of(
                lambda turn=turn: ours(setting.loader(f"kept{turn}", keep_decoded_bytes=2**33))
            ),
            "(b) WebDataset from S3": rate_of(lambda: count_of(sets)),
            "(a) DataLoader over a folder": rate_of(lambda: count_of(folder)),
            "warm, decoded for each epoch": rate_of(lambda turn=turn: ours(warm, turn + 1)),
            "warm, kept decoded": rate_of(lambda turn=turn: ours(kept, turn + 1)),
        }
        if turn >= 0:
            best = {name: max(rate, best.get(name, 0)) for name, rate in rates.items()}
    return best


def long_run(setting: Setting, state: StoreState) -> tuple[int, dict[str, float]]:
    """Return what 20 epochs of two loaders that share a cache took.

    Returns:
        The most requests for one shard; and by how many MiB this process and those below it grew
        from epochs 5 to 9 to the last five.
    """
    grown = {}
    with fault_proxy(state.endpoint) as proxy, through(proxy):
        for name, limit in (("decoded for each epoch", 0), ("kept decoded", 2**33)):
            loader = setting.loader("counted", keep_decoded_bytes=limit)
            sizes = []
            for epoch in range(EPOCHS):
                sum(ours(loader, epoch))
                sizes.append(sum(map(_private_mib, _family())))
            # Medians: what an allocator gives back late comes and goes by a batch or two.
            grown[name] = median(sizes[-5:]) - median(sizes[4:9])
        keys = [one.key for one in setting.dataset.manifest.partitions]
        return max(proxy.count("GET", key=key) for key in keys), grown


def _family() -> list[int]:
    """Return this process and all below it."""
    found = [os.getpid()]
    for pid in found:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def _private_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def report(best: dict[str, float], most: int, grown: dict[str, float]) -> bool:
    """Print the tables and return whether every target is met."""
    folder, sets = best["(a) DataLoader over a folder"], best["(b) WebDataset from S3"]
    well = True
    print(
        "\n| loader | frames/s | against (a) | against (b) | target | |\n|---|---|---|---|---|---|"
    )
    for name, rate in best.items():
        target, ratio = "", 1.0
        if name.startswith("warm"):
            target, ratio = f"{WARM_TARGET:g} x (a)", rate / folder / WARM_TARGET
        elif name.startswith("cold"):
            target, ratio = f"{COLD_TARGET:g} x (b)", rate / sets / COLD_TARGET
        well &= ratio >= 1
        verdict = ("ok" if ratio >= 1 else "MISSED") if target else ""
        print(
            f"| {name} | {rate:,.0f} | {rate / folder:.2f} | {rate / sets:.2f} "
            f"| {target} | {verdict} |"
        )
    print(f"\nmost requests for one shard in {EPOCHS} epochs of two loaders: {most} (target 1)")
    for name, mib in grown.items():
        print(f"growth over {EPOCHS} epochs, {name}: {mib:.1f} MiB (target {GROWTH_MIB})")
    return well and most <= 1 and max(grown.values()) <= GROWTH_MIB


def main(description: str) -> int:
    """Prepare, compete, count, report."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--frames", type=int, default=480, help="of each subject")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    # One thread in each process, peers' and ours.
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        state = start_store(home)
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = state.credentials_file
        os.environ["AWS_CONFIG_FILE"] = state.config_file
        try:
            setting = prepare(state, Path(folder), options)
            size = sum(one.size_bytes for one in setting.dataset.manifest.partitions)
            print(f"{len(setting.folder)} frames, {size / 1e6:.0f} MB, {options.workers} processes")
            best = compete(setting, options.rounds)
            print("counting requests and watching memory")
            return 0 if report(best, *long_run(setting, state)) else 1
        finally:
            stop_store(home)
