"""A whole trial with real DeepSpeed on a tiny network and fold, one rank."""

import json
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load

from aufleet.errors import (
    AlreadyExistsError,
    ConfigError,
    NonFiniteLossError,
    ObjectCorruptError,
    TrainingError,
)
from aufleet.storage import open_store
from aufleet.training import TrialConfig, join_ranks, run_trial, score_test
from aufleet.training.trial import read_test_score

STAGES = (0, 1, 2, 3)


def _bytes(store, key: str) -> tuple[bytes, bytes]:
    return store.read(f"{key}/model.safetensors"), store.read(f"{key}/optimizer.safetensors")


def _last(store) -> str:
    return max(key.rpartition("/")[0] for key in store.keys("") if key.endswith("checkpoint.json"))


@pytest.fixture
def run(fold, build, listener):
    def run(config: TrialConfig, store, *, stop_after: int | None = None, **options):
        heard = listener(stop_after)
        data = fold(config=config, **options)
        result = run_trial(config, store=store, report=heard, data=data, build=build)
        return result, heard.reports

    return run


def test_a_trial_learns_and_tells_each_epoch(run, config, store) -> None:
    result, reports = run(replace(config, learning_rate=0.1, epochs=6), store)
    assert [report.epoch for report in reports] == [1, 2, 3, 4, 5, 6]
    assert result.epochs == tuple(reports)
    assert result.score > np.mean(list(result.constant.values())) + 0.1
    assert result.score == max(report.score for report in reports)
    assert set(result.per_label) == {"AU1", "AU12", "AU25"}
    assert reports[-1].train_loss < reports[0].train_loss
    assert [report.learning_rate for report in reports] == [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]
    assert all(report.landmark_error > 0 and report.kappa is None for report in reports)


def test_palsy_is_the_same_path(run, palsy, store) -> None:
    result, reports = run(replace(palsy, learning_rate=0.1), store)
    assert set(result.per_label) == {"normal", "low", "medium", "high"}
    assert reports[-1].kappa is not None
    assert reports[-1].accuracy is not None


def test_the_best_checkpoint_holds_the_predictions_of_every_validation_frame(
    run, config, store
) -> None:
    result, _ = run(config, store)
    rows = load(store.read(f"{result.checkpoint}/validation.safetensors"))
    assert rows["index"].tolist() == list(range(21))
    assert rows["logits"].shape == rows["probabilities"].shape == rows["units"].shape == (21, 3)


def test_the_best_and_the_last_checkpoint_stay(run, config, store) -> None:
    result, _ = run(config, store)
    kept = {key for key in store.keys("") if key.endswith("checkpoint.json")}
    assert kept == {f"{key}/checkpoint.json" for key in (result.checkpoint, _last(store))}
    assert all(key.startswith("attempt-001/") for key in store.keys(""))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_resumed_trial_has_the_bits_of_an_uninterrupted_one(
    run, config, tmp_path, stage: int, optimizer: str
) -> None:
    config = replace(config, zero_stage=stage, optimizer=optimizer, gradient_clipping=1.0)
    whole, broken = open_store(str(tmp_path / "whole")), open_store(str(tmp_path / "broken"))
    uninterrupted, _ = run(config, whole)
    run(config, broken, stop_after=2)
    resumed, reports = run(config, broken)
    assert [report.epoch for report in reports] == [3, 4]
    assert _bytes(broken, _last(broken)) == _bytes(whole, _last(whole))
    assert [e.score for e in resumed.epochs] == [e.score for e in uninterrupted.epochs]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_stages_in_turn_in_one_process_give_the_same_bits(
    run, config, tmp_path, precision: str
) -> None:
    found = []
    for number, stage in enumerate((0, 3, 0, 1, 2)):
        store = open_store(str(tmp_path / str(number)))
        run(replace(config, zero_stage=stage, precision=precision), store)
        found.append(store.read(f"{_last(store)}/model.safetensors"))
    assert len(set(found)) == 1


def test_a_weight_without_part_in_the_loss_is_decayed_at_every_stage(
    config, tmp_path, build, fold, listener
) -> None:
    def with_spare(config: TrialConfig, units):
        network = build(config, units)
        network.spare = torch.nn.Parameter(torch.ones(3))
        return network

    found = []
    for stage in STAGES:
        one = replace(config, epochs=1, zero_stage=stage, weight_decay=0.1)
        store = open_store(str(tmp_path / str(stage)))
        run_trial(one, store=store, report=listener(), data=fold(config=one), build=with_spare)
        found.append(load(store.read(f"{_last(store)}/model.safetensors"))["spare"])
    assert all(torch.equal(found[0], one) for one in found)
    assert found[0].max() < 1


def test_a_stage_takes_over_from_another(run, config, tmp_path) -> None:
    # Nothing of DeepSpeed's own layout is in a checkpoint.
    store = open_store(str(tmp_path / "moved"))
    run(replace(config, zero_stage=2), store, stop_after=2)
    run(config, store)
    straight = open_store(str(tmp_path / "straight"))
    run(config, straight)
    assert _bytes(store, _last(store)) == _bytes(straight, _last(straight))


def test_a_finished_trial_is_not_run_again(run, config, store) -> None:
    first, _ = run(config, store)
    second, reports = run(config, store)
    assert second == first
    assert reports == []


def test_a_checkpoint_that_is_not_whole_does_not_exist(run, config, store) -> None:
    run(config, store, stop_after=2)
    store.write("attempt-001/checkpoint-0003/model.safetensors", b"half of it")
    _, reports = run(config, store)
    assert [report.epoch for report in reports] == [3, 4]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "checkpoint.json"])
def test_a_damaged_checkpoint_is_named(run, config, store, name: str) -> None:
    run(config, store, stop_after=1)
    key = f"{_last(store)}/{name}"
    store.write(key, store.read(key)[:-3])
    with pytest.raises(ObjectCorruptError, match=key):
        run(config, store)


def test_a_store_of_another_trial_is_refused(run, config, store) -> None:
    run(config, store, stop_after=1)
    with pytest.raises(ConfigError, match="another learning_rate, seed"):
        run(replace(config, learning_rate=0.5, seed=3), store)


def test_a_loss_that_is_not_finite_names_epoch_and_step(run, config, store) -> None:
    with pytest.raises(NonFiniteLossError, match=r"nan in epoch 1, step \d: a lower"):
        run(config, store, poisoned=3)
    assert not [key for key in store.keys("") if key.endswith("checkpoint.json")]


def test_a_network_that_refuses_a_setting_is_a_configuration_error(config, store, fold) -> None:
    config = replace(config, model="algrnet", options={"adaptive": 3})
    with pytest.raises(ConfigError, match="algrnet cannot be built: option adaptive"):
        run_trial(config, store=store, report=bool, data=fold(config=config))


def test_ranks_that_do_not_fit_are_refused(run, config, store) -> None:
    with pytest.raises(ConfigError, match="wants 2 ranks, 1 are here"):
        run(replace(config, ranks=2), store)
    with pytest.raises(ConfigError, match="rank 0 of 1 already"):
        join_ranks(rank=0, size=2, address="tcp://127.0.0.1:1")


def test_a_trial_leaves_no_trace_in_the_process(run, config, store) -> None:
    linear, threads = torch.nn.functional.linear, torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(replace(config, zero_stage=3, threads=2), store)
    assert torch.equal(torch.rand(3), expected)
    assert torch.nn.functional.linear is linear
    assert torch.get_num_threads() == threads
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("stage", STAGES)
def test_a_trial_leaves_no_network_behind(config, store, fold, build, stage: int) -> None:
    built = []

    def build_and_note(config: TrialConfig, units):
        network = build(config, units)
        built.append(weakref.ref(network))
        return network

    config = replace(config, zero_stage=stage, epochs=2)
    run_trial(config, store=store, report=bool, data=fold(config=config), build=build_and_note)
    assert built[0]() is None


def test_the_test_part_is_scored_once(run, config, store, fold, build) -> None:
    result, _ = run(replace(config, learning_rate=0.1), store)
    args = {"store": store, "checkpoint": result.checkpoint, "data": fold(config=config)}
    score = score_test(config, **args, build=build)
    assert score.num_frames == 22
    assert set(score.per_label) == {"AU1", "AU12", "AU25"}
    assert store.exists(score.predictions)
    assert read_test_score(store) == score
    with pytest.raises(AlreadyExistsError, match=r"fold 1 of configuration .* was scored on its"):
        score_test(config, **args, build=build)


@pytest.mark.parametrize("stage", STAGES)
def test_passes_of_a_step_add_up_to_the_whole_batch(
    config, tmp_path, build, fold, listener, stage: int
) -> None:
    # Without batch norm, whose statistics are those of a pass, and without dropout.
    def without_noise(config: TrialConfig, units):
        network = build(config, units)
        network.features[1], network.head[0] = torch.nn.Identity(), torch.nn.Identity()
        return network

    weights = []
    for accumulation in (1, 2, 4):  # the last batch of an epoch has 5 frames
        one = replace(config, epochs=1, zero_stage=stage, accumulation=accumulation)
        store = open_store(str(tmp_path / str(accumulation)))
        run_trial(one, store=store, report=listener(), data=fold(config=one), build=without_noise)
        weights.append(load(store.read(f"{_last(store)}/model.safetensors")))
    for other in weights[1:]:
        for name, value in weights[0].items():
            torch.testing.assert_close(other[name], value, atol=1e-6, rtol=1e-5)


def test_a_trial_with_several_passes_resumes_with_the_same_bits(run, config, tmp_path) -> None:
    config = replace(config, accumulation=2, zero_stage=2)
    whole, broken = open_store(str(tmp_path / "whole")), open_store(str(tmp_path / "broken"))
    run(config, whole)
    run(config, broken, stop_after=2)
    run(config, broken)
    assert _bytes(broken, _last(broken)) == _bytes(whole, _last(whole))


def test_the_best_checkpoints_and_the_last_stay(run, config, store) -> None:
    config = replace(config, keep_best=2, epochs=6, learning_rate=0.1)
    result, reports = run(config, store)
    kept = {json.loads(store.read(k))["epoch"] for k in store.keys("") if k.endswith("nt.json")}
    best = sorted(reports, key=lambda one: (-one.score, one.loss))[:2]
    assert kept == {6, *(report.epoch for report in best)}
    assert all(store.exists(f"attempt-001/checkpoint-{e:04d}/model.safetensors") for e in kept)
    # How many are kept changes no number: the trial may go on with another choice.
    assert run(replace(config, keep_best=1), store)[0] == result


@pytest.mark.parametrize(
    "said",
    ["[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes", "CUDA out of memory."],
)
def test_memory_that_runs_out_is_named_with_what_helps(config, store, fold, build, said) -> None:
    def hungry(config: TrialConfig, units):
        network = build(config, units)
        network.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError(said)))
        return network

    with pytest.raises(
        TrainingError, match=r"batch of 8 frames on 1 ranks ran out of memory .*: lower"
    ):
        run_trial(config, store=store, report=bool, data=fold(config=config), build=hungry)
