"""What a trial takes from its data set before it trains: a published one with drawn pictures."""

import pickle
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from aufleet.data.dataset import Dataset, open_dataset, withdrawn_key
from aufleet.data.loader import FoldLoader
from aufleet.data.publish import DatasetSpec, publish_dataset
from aufleet.data.records import FrameRecord
from aufleet.errors import ConfigError, DataError
from aufleet.storage import open_store
from aufleet.training import TrialConfig, fold_data, run_trial
from aufleet.training.fold_data import open_fold, open_test
from aufleet.training.ranks import Ranks
from aufleet.training.trial import build_network

SMALL = {"stem": 18, "hidden": 8, "input_size": 32}


def _subjects(*, num_points: int) -> Iterator[tuple[str, list[FrameRecord]]]:
    random = np.random.default_rng(0)
    for number in range(6):
        yield f"S{number}", [_record(f"S{number}", row, random, num_points) for row in range(2)]


def _record(subject: str, frame: int, random: np.random.Generator, num_points: int) -> FrameRecord:
    picture = random.integers(0, 255, (200, 200, 3), dtype=np.uint8)
    points = random.uniform(60, 140, (68, 2)).astype(np.float32)
    return FrameRecord(
        subject=subject,
        sequence="T1",
        frame=frame,
        jpeg=cv2.imencode(".jpg", picture)[1].tobytes(),
        landmarks=points[:49],
        landmarks_68=points if num_points == 68 else None,
        landmark_source="exact",
        units=(frame % 2, 1 - frame % 2),
    )


@pytest.fixture
def trial(tmp_path):
    """Return a trial of a small LP-Net on a data set with so many landmarks."""

    def of(known_points: int, **options: object) -> TrialConfig:
        store = open_store(str(tmp_path))
        name = f"faces{known_points}"
        spec = DatasetSpec(name=name, version="1", units=(1, 2), source="a test", seed=0)
        publish_dataset(_subjects(num_points=known_points), spec=spec, store=store)
        return TrialConfig(
            model="lpnet",
            dataset=store.uri_of(f"datasets/{name}/1"),
            fold=1,
            width=0.0625,
            epochs=1,
            batch=4,
            learning_rate=1e-3,
            options={**SMALL, **options},
        )

    return of


@pytest.mark.parametrize("num_points", [49, 68])
def test_lp_net_trains_with_the_landmarks_that_the_data_set_has(trial, num_points, store) -> None:
    config = trial(num_points)

    result = run_trial(config, store=store, report=lambda _: True)

    assert len(result.epochs) == 1
    assert build_network(config, (1, 2)).num_points == num_points


def test_a_trial_may_take_fewer_landmarks_than_there_are(trial, store) -> None:
    config = trial(68, num_points=49)

    run_trial(config, store=store, report=lambda _: True)

    assert build_network(config, (1, 2)).num_points == 49


def test_a_trial_that_wants_more_landmarks_than_there_are_says_what_to_set(trial, store) -> None:
    with pytest.raises(ConfigError, match="have no 68 landmarks: set num_points to 49"):
        run_trial(trial(49, num_points=68), store=store, report=lambda _: True)


def test_networks_without_landmarks_keep_their_options(trial) -> None:
    config = replace(trial(49), model="resnet18", options={})

    assert build_network(config, (1, 2)).num_points == 0


def test_a_trial_cannot_read_the_test_part_by_any_way(trial) -> None:
    config = trial(49)
    data = open_fold(config)
    fold = data.dataset.fold(config.fold)

    assert not hasattr(data, "test")
    partitions = {one.subject: one for one in data.dataset.manifest.partitions}
    for subject in fold.test:
        complaint = f"subject {subject} of .* is kept back: a trial of fold 1 trains"
        for read in (
            lambda name=subject: data.dataset.read_subject(name),
            lambda name=subject: data.dataset.partition(name),
            lambda name=subject: data.dataset.read_partition(partitions[name]),
            lambda name=subject: FoldLoader(
                data.dataset, subjects=[name], batch=2, seed=0, augment=False
            ),
        ):
            with pytest.raises(DataError, match=complaint):
                read()


def test_what_is_kept_back_stays_so_in_another_process(trial) -> None:
    config = trial(49)
    data = open_fold(config)

    travelled = pickle.loads(pickle.dumps(data.dataset))

    with pytest.raises(DataError, match="kept back"):
        travelled.read_subject(data.dataset.fold(1).test[0])


def test_the_three_parts_share_no_frame_and_lose_none(trial) -> None:
    config = trial(49)
    alone = Ranks(rank=0, size=1)
    data, final = open_fold(config), open_test(config)

    parts = [
        {int(index) for batch in part.epoch(0) for index in batch["index"]}
        for part in (
            data.train(frame_size=176, ranks=alone),
            data.validation(frame_size=176, ranks=alone),
            final.test(frame_size=176, ranks=alone),
        )
    ]

    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts)) == data.dataset.manifest.num_frames


def test_a_data_set_whose_subject_withdrew_is_not_trained_on(trial, tmp_path) -> None:
    config = replace(trial(49), seed=7)
    dataset = open_dataset(config.dataset)
    dataset.store.write(withdrawn_key("S3"), b"{}")
    fold_data._open.cache_clear()

    with pytest.raises(DataError, match=r"1 of the subjects of .* withdrew: use the version"):
        open_fold(config)


def test_every_trial_of_a_node_takes_its_frames_from_the_cache(trial, monkeypatch) -> None:
    config = trial(49)
    asked = []
    read = Dataset.read_partition

    def counted(self, partition):
        asked.append(partition.subject)
        return read(self, partition)

    monkeypatch.setattr(Dataset, "read_partition", counted)
    alone = Ranks(rank=0, size=1)
    for seed in (11, 12, 13):
        data = open_fold(replace(config, seed=seed))
        data.train(frame_size=176, ranks=alone)

    assert len(asked) == len(set(asked))
