"""What a search will read, keep and take, before it runs."""

import pytest

from aufleet.data.manifest import MANIFEST_KEY, FoldSubjects, Manifest, Partition
from aufleet.tuning.experiment import parse_experiment
from aufleet.tuning.forecast import FLOPS_PER_GPU, forecast, in_words
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.plan import plan_of

from .conftest import record_of

FILE = """
name: small
task: au
dataset: faces/1
models: [resnet18]
folds: [1, 2]
fixed: {epochs: 10, width: 0.25, keep_best: 1, optimizer: sgd}
search: {learning_rate: {choice: [0.1, 0.2]}}
resources: {gpus_per_rank: 1}
"""


@pytest.fixture
def experiment(root):
    subjects = ("F1", "F2", "F3")
    manifest = Manifest(
        name="faces",
        version="1",
        source="made up",
        seed=0,
        units=(1, 12),
        partitions=tuple(
            Partition(subject=one, key=one, sha256="0" * 64, size_bytes=1000, num_frames=100)
            for one in subjects
        ),
        folds=tuple(
            FoldSubjects(number=k, train=(a,), validation=(b,), test=(c,))
            for k, (a, b, c) in enumerate([subjects, subjects[1:] + subjects[:1]], start=1)
        ),
        positive_rates={},
        grade_counts={},
        unusable={},
    )
    root.write(f"datasets/faces/1/{MANIFEST_KEY}", manifest.to_bytes())
    return parse_experiment(FILE, source="small.yaml")


def test_an_estimate_counts_bytes_and_operations_then_what_was_measured(experiment, root):
    plan = plan_of(experiment, root=root)
    estimate = forecast(experiment, plan, root=root)
    assert estimate
    assert estimate.read_bytes == 4 * 2000
    parameters = estimate.written_bytes / 4 / 4 / 4  # trials, bytes, (best + last) x two copies
    assert parameters == pytest.approx(11_000_000 / 16, rel=0.1)
    per_frame = estimate.gpu_hours * 3600 * FLOPS_PER_GPU / (4 * 200 * 10 * 3)
    assert per_frame == pytest.approx(2 * 1.8e9 * (176 / 224) ** 2 / 16, rel=0.5)
    assert "GPU hours at 5 TFLOP/s" in in_words(estimate)

    curve = [{"epoch": e, "score": 0.1, "loss": 1, "train_loss": 1} for e in (1, 2)]
    record = record_of(model="resnet18", held_s=7200.0, curve=curve)
    Ledger(root.child("experiments/small")).add_trial(record)
    measured = forecast(experiment, plan, root=root)
    assert measured
    assert (measured.basis, measured.gpu_hours) == ("measured", 4 * 10 * 1.0)


def test_a_data_set_that_is_not_there_yet_leaves_the_plan_without_an_estimate(root):
    experiment = parse_experiment(FILE, source="small.yaml")
    assert forecast(experiment, plan_of(experiment, root=root), root=root) is None
