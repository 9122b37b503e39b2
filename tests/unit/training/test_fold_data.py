"""What a trial takes from its data set before it trains: a published one with drawn pictures."""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from aufleet.data.publish import DatasetSpec, publish_dataset
from aufleet.data.records import FrameRecord
from aufleet.errors import ConfigError
from aufleet.storage import open_store
from aufleet.training import TrialConfig, run_trial
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
