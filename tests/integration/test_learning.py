"""A trial learns what the labels say, and nothing where they say nothing."""

from dataclasses import replace
from statistics import fmean

import pytest

from aufleet.data.publish import DatasetSpec, publish_dataset
from aufleet.data.synthetic import SyntheticSettings, render_subjects
from aufleet.storage import Store, open_store
from aufleet.training import TestScore, TrialConfig, run_trial, score_test

MARGIN = 0.10
"""What a network must be better by than the best constant answer, in macro F1."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The demo's data set, rendered as `aufleet demo` renders it."""
    store = open_store(str(tmp_path_factory.mktemp("learning")))
    settings = SyntheticSettings(
        num_subjects=18, frames_per_subject=60, seed=0, units=(1, 2, 12, 25, 26)
    )
    spec = DatasetSpec(name="demo", version="1", units=settings.units, source="test", seed=0)
    publish_dataset(render_subjects(settings), spec=spec, store=store)
    return store


def _trial(root: Store) -> TrialConfig:
    """The cheapest network that learns these faces; `learning.py` trains all the others."""
    return TrialConfig(
        model="resnet18",
        dataset=root.uri_of("datasets/demo/1"),
        fold=1,
        width=0.25,
        epochs=6,
        batch=16,
        optimizer="adamw",
        learning_rate=0.003,
        schedule="cosine",
        warmup_epochs=1,
    )


def _test_score(config: TrialConfig, root: Store) -> TestScore:
    store = root.child(f"trial-{config.shuffle_labels}")
    result = run_trial(config, store=store, report=lambda _: True)
    return score_test(config, store=store, checkpoint=result.checkpoint)


def _gain(score: TestScore) -> float:
    return score.score - fmean(score.constant.values())


def test_a_trial_beats_the_best_constant_answer_on_held_out_subjects(root: Store) -> None:
    score = _test_score(_trial(root), root)
    assert score.num_frames == 6 * 60
    assert _gain(score) >= MARGIN, score


def test_the_same_trial_on_shuffled_labels_does_not(root: Store) -> None:
    score = _test_score(replace(_trial(root), shuffle_labels=True), root)
    assert _gain(score) < MARGIN, score
