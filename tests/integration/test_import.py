"""Importing on a real Ray cluster of two nodes into a real S3 server: resume, races, faults."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import painted_importer
import psutil
import pytest
from faults.proxy import FaultProxy
from painted_importer import BROKEN, DIES, DIES_LATE, PaintedImporter
from two_nodes import connect, two_nodes

from aufleet.data.dataset import Dataset, open_dataset
from aufleet.data.importing import ImportProgress, import_dataset, pipeline
from aufleet.data.importing.receipts import Receipts, identity_of
from aufleet.data.importing.subject import ImportJob, read_subject
from aufleet.data.publish import DatasetSpec
from aufleet.data.unusable import decode_list
from aufleet.data.verify import verify_dataset
from aufleet.errors import AlreadyExistsError, ConfigError, DataError, StoreUnavailableError
from aufleet.storage import Store

pytestmark = [pytest.mark.ray, pytest.mark.s3]

SPEC = DatasetSpec(name="faces", version="1", seed=0)


@pytest.fixture(scope="module", autouse=True)
def cluster(s3_server) -> Iterator[str]:
    """A cluster of two nodes with one CPU each, and a driver in this process."""
    import ray

    ray.cloudpickle.register_pickle_by_value(painted_importer)
    with two_nodes() as address:
        yield address


@pytest.fixture
def importer(tmp_path: Path) -> PaintedImporter:
    return PaintedImporter(log=str(tmp_path))


@pytest.fixture
def news_of_each_frame(monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "FRAMES_PER_TICK", 1)


def nodes_and_times(importer: PaintedImporter) -> list[list[str]]:
    plans, _ = importer.plan()
    return [line.split() for plan in plans for line in importer.reads(plan.subject)]


def test_an_import_on_two_nodes_publishes_what_the_importer_yields(
    importer, s3_store, news_of_each_frame
) -> None:
    heard: list[ImportProgress] = []

    manifest = import_dataset(
        replace(importer, pace_s=0.2, num_nodes=2),
        spec=SPEC,
        store=s3_store,
        progress=heard.append,
    )

    dataset = open_dataset(s3_store.uri_of(SPEC.prefix))
    assert dataset.manifest == manifest
    assert (manifest.num_frames, manifest.units) == (24, (1, 12))
    assert manifest.source == importer.describe()
    assert manifest.unusable == {"no face": 6, "no such task": 1}
    assert manifest.coded_frames == {"AU1": 24, "AU12": 0}
    assert reds(dataset) == {40}
    assert len(importer.nodes()) == 2, "both nodes did work"
    assert heard[0].frames_done == 0
    assert heard[-1] == ImportProgress(
        num_subjects=6, num_frames=30, subjects_done=6, frames_done=30, frames_resumed=0
    )
    assert any(news.frames_done % 5 > 0 for news in heard), "news come before a subject ends"
    listed = manifest.unusable_list
    assert listed is not None
    items = decode_list(dataset.store.read_verified(listed.key, sha256=listed.sha256))
    assert [item.subject for item in items] == ["", *manifest.subjects]
    # Nothing lies there but what the manifest names.
    named = {"manifest.json", listed.key, *(one.key for one in manifest.partitions)}
    assert set(dataset.store.keys()) == named


def test_the_same_import_again_reads_nothing(importer, s3_store) -> None:
    first = import_dataset(importer, spec=SPEC, store=s3_store)

    assert import_dataset(importer, spec=SPEC, store=s3_store) == first

    assert len(nodes_and_times(importer)) == 6
    with pytest.raises(AlreadyExistsError, match=r"already published, from painted red 40"):
        import_dataset(replace(importer, red=80), spec=SPEC, store=s3_store)


def test_an_import_that_was_killed_goes_on_where_it_was(importer, s3_store, tmp_path) -> None:
    process = start(s3_store, tmp_path, "--pace", "0.3")
    target = s3_store.child(SPEC.prefix)
    await_receipts(process, target, count=2)
    process.kill()
    process.communicate()
    await_silence(importer)
    finished = receipts(target)
    assert not target.exists("manifest.json")
    before = {subject: len(importer.reads(subject)) for subject in finished}

    heard: list[ImportProgress] = []
    manifest = import_dataset(importer, spec=SPEC, store=s3_store, progress=heard.append)

    assert heard[0].frames_resumed == 5 * len(finished)
    assert {subject: len(importer.reads(subject)) for subject in finished} == before
    assert manifest.num_frames == 24
    assert receipts(target) == []
    clean = import_dataset(importer, spec=SPEC, store=s3_store.child("elsewhere"))
    assert clean.digest == manifest.digest, "as if it had never been killed"


def start(store: Store, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start an import as a process of its own on the same cluster."""
    command = [sys.executable, painted_importer.__file__, store.uri, "--log", str(log), *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def receipts(target: Store) -> list[str]:
    """Return the subjects that are finished."""
    keys = target.keys("imports/")
    return [key.partition("subject=")[2].removesuffix(".json") for key in keys if "subject=" in key]


def await_receipts(process: subprocess.Popen[bytes], target: Store, *, count: int) -> None:
    deadline = time.monotonic() + 240
    while len(receipts(target)) < count:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def await_silence(importer: PaintedImporter) -> None:
    """Wait until no worker of a killed driver reads any more."""
    pids = {int(pid) for _, pid, _ in nodes_and_times(importer)}
    deadline = time.monotonic() + 60
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_receipts_of_another_import_do_not_count(importer, s3_store) -> None:
    with pytest.raises(DataError, match=r"the labels of S02 are torn: mend them"):
        import_dataset(replace(importer, trouble=BROKEN), spec=SPEC, store=s3_store)
    assert receipts(s3_store.child(SPEC.prefix))

    manifest = import_dataset(replace(importer, red=200), spec=SPEC, store=s3_store)

    assert reds(open_dataset(s3_store.uri_of(SPEC.prefix))) == {200}
    assert manifest.num_frames == 24


def test_a_damaged_receipt_and_a_vanished_partition_are_read_again(importer, s3_store) -> None:
    target = s3_store.child(SPEC.prefix)
    job = ImportJob(
        importer=importer,
        receipts=Receipts(target=target, identity=identity_of(importer)),
        num_units=2,
        frames_per_tick=25,
    )
    for plan in importer.plan()[0][:2]:
        assert list(read_subject(job, plan))
    first, second = receipts(target)
    (receipt,) = [key for key in target.keys("imports/") if f"subject={first}" in key]
    target.write(receipt, target.read(receipt)[:-20])
    target.delete_below(f"subject={second}")

    import_dataset(importer, spec=SPEC, store=s3_store)

    assert [len(importer.reads(subject)) for subject in (first, second)] == [2, 2]
    assert reds(open_dataset(target.uri)) == {40}


@pytest.mark.parametrize("trouble", [DIES, DIES_LATE])
def test_a_worker_that_dies_is_replaced(importer, s3_store, news_of_each_frame, trouble) -> None:
    manifest = import_dataset(replace(importer, trouble=trouble), spec=SPEC, store=s3_store)

    assert manifest.num_frames == 24
    assert len(importer.reads("S02")) == 2


def test_a_task_may_read_several_subjects(importer, s3_store, monkeypatch) -> None:
    for name in ("LEAST_TASKS", "TASKS_PER_PROCESS"):
        monkeypatch.setattr(pipeline, name, 1)

    manifest = import_dataset(importer, spec=SPEC, store=s3_store)

    assert manifest.num_frames == 24
    lines = nodes_and_times(importer)
    assert len(lines) == 6
    assert len({process for _, process, _ in lines}) <= 2


def test_a_fault_of_the_importer_names_the_subject(importer, s3_store) -> None:
    with pytest.raises(DataError, match=r"painted failed at subject S02 \(ZeroDivisionError"):
        import_dataset(replace(importer, trouble="fault"), spec=SPEC, store=s3_store)


def test_too_few_subjects_are_refused_before_anything_is_read(importer, s3_store) -> None:
    with pytest.raises(ConfigError, match="5 subjects cannot be split"):
        import_dataset(replace(importer, num_subjects=5), spec=SPEC, store=s3_store)

    assert nodes_and_times(importer) == []


def test_of_two_importers_of_one_version_exactly_one_wins_whole(s3_store, tmp_path) -> None:
    logs = [tmp_path / "a", tmp_path / "b"]
    for log in logs:
        log.mkdir()
    racers = [
        start(s3_store, log, "--red", red) for log, red in zip(logs, ("40", "200"), strict=True)
    ]
    said = [racer.communicate(timeout=300)[1].decode() for racer in racers]

    assert sorted(racer.returncode for racer in racers) == [0, 1]
    winner = [racer.returncode for racer in racers].index(0)
    assert "AlreadyExistsError" in said[1 - winner]
    dataset = open_dataset(s3_store.uri_of(SPEC.prefix))
    assert reds(dataset) == {(40, 200)[winner]}
    assert dataset.manifest.num_frames == 24


def reds(dataset: Dataset) -> set[int]:
    """Return who painted the frames."""
    pictures = (
        cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        for subject in dataset.manifest.subjects
        for jpeg in dataset.read_subject(subject).jpeg
    )
    return {round(float(picture[..., 2].mean()) / 10) * 10 for picture in pictures}


@pytest.fixture
def faulty_store(
    cluster: str, s3_proxy: FaultProxy, s3_store: Store, monkeypatch
) -> Iterator[Store]:
    """The store behind the proxy, for this process and for the workers of a driver of its own."""
    import ray

    monkeypatch.setenv("AUFLEET_STORE_DEADLINE_S", "60")
    ray.shutdown()
    connect(cluster, names=("AWS_ENDPOINT_URL", "AUFLEET_STORE_DEADLINE_S"))
    yield s3_store
    ray.shutdown()
    connect(cluster, names=())


def test_with_every_tenth_request_failing_the_same_comes_out(
    importer, s3_proxy, faulty_store
) -> None:
    importer = replace(importer, num_subjects=12)
    clean = import_dataset(importer, spec=SPEC, store=faulty_store.child("clean"))
    s3_proxy.stall_s = s3_proxy.slow_s = 1.0
    s3_proxy.rate = 0.1

    # Several, so that every kind of request meets every kind of fault.
    for number in range(4):
        store = faulty_store.child(f"faulty-{number}")
        manifest = import_dataset(importer, spec=SPEC, store=store)
        assert manifest.to_bytes() == clean.to_bytes()

    s3_proxy.rate = 0.0
    assert s3_proxy.num_faults >= 5
    assert verify_dataset(open_dataset(store.uri_of(SPEC.prefix))) == []
    assert receipts(store.child(SPEC.prefix)) == []


def test_a_store_that_stays_away_is_one_error_that_says_what_and_how_long(
    importer, s3_proxy, faulty_store, monkeypatch
) -> None:
    import ray

    monkeypatch.setenv("AUFLEET_STORE_DEADLINE_S", "4")
    ray.shutdown()
    connect(os.environ["RAY_ADDRESS"], names=("AWS_ENDPOINT_URL", "AUFLEET_STORE_DEADLINE_S"))

    def leave(news: ImportProgress) -> None:
        if news.subjects_done == 2:
            s3_proxy.away = True

    with pytest.raises(StoreUnavailableError) as caught:
        import_dataset(
            replace(importer, pace_s=0.05), spec=SPEC, store=faulty_store, progress=leave
        )

    said = str(caught.value)
    assert re.search(r"writing s3://.*subject=S\d\d\S* got no answer within 4 s", said), said
    s3_proxy.away = False
    # The same command goes on.
    assert import_dataset(importer, spec=SPEC, store=faulty_store).num_frames == 24


COMMAND = [sys.executable, "-m", "aufleet.cli", "data", "import", "synthetic", "faces"]


def test_the_command_imports_and_says_where_nothing_is_left_to_do(s3_store) -> None:
    command = [*COMMAND, "--subjects", "6", "--frames", "2", "--seed", "3"]
    place = ["--to", s3_store.uri_of("datasets/faces/1"), "--json"]

    made, again, other = (
        subprocess.run([*command, *words, *place], capture_output=True, text=True, timeout=300)
        for words in ([], [], ["--seed", "4"])
    )

    assert made.returncode == 0, made.stderr
    content = json.loads(made.stdout)
    assert (content["subjects"], content["frames"]) == (6, 12)
    assert json.loads(again.stdout) == content
    assert "nothing was read" in again.stderr
    assert other.returncode == 1
    assert "choose another version" in other.stderr.replace("\n", " ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_a_signal_leaves_no_process_and_the_same_command_goes_on(s3_store, number) -> None:
    command = [*COMMAND, "--subjects", "6", "--frames", "40", "--parallelism", "1"]
    command += ["--to", s3_store.uri_of("datasets/faces/1"), "--json"]
    # A Ray of its own, as on one machine.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = subprocess.Popen(
        command, env=alone, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    target = s3_store.child("datasets/faces/1")
    await_receipts(process, target, count=1)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) > 3

    process.send_signal(number)
    _, said = process.communicate(timeout=120)

    assert process.returncode == 128 + number, said.decode()
    assert b"Traceback" not in said
    assert [one for one in family if one.is_running()] == []
    assert not target.exists("manifest.json")
    partitions = len(target.keys("subject="))
    assert 1 <= partitions < 6
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 240
    assert len(target.keys("subject=")) == 6
