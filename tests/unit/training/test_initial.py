"""Trials that start from earlier models."""

import json
import pickle
from dataclasses import replace

import pytest
import torch
from cards import a_package
from safetensors.torch import load, save

from aufleet.errors import ConfigError
from aufleet.registry.card import DatasetReference
from aufleet.registry.package import write_package
from aufleet.storage import open_store, sha256_of
from aufleet.training import TrialConfig, run_trial
from aufleet.training.config import InitializeFrom
from aufleet.training.initial import describe, read_source
from aufleet_models import build_model

SETTINGS = {"model": "algrnet", "dataset": "faces/1", "fold": 1}


@pytest.fixture
def config(config) -> TrialConfig:
    """A network of the catalog, as small as it gets, on the tiny fold."""
    options = {"frame_size": 16}
    return replace(config, model="resnet18", width=0.0625, options=options, epochs=2)


@pytest.fixture
def run(fold, listener, tmp_path):
    """Run a trial in a store of its own; return its result and its store."""

    def run(config: TrialConfig, place: str, *, stop_after: int | None = None):
        store = open_store(str(tmp_path / place))
        heard = listener(stop_after)
        return run_trial(config, store=store, report=heard, data=fold(config=config)), store

    return run


def _start(config: TrialConfig, uri: str, **wanted) -> TrialConfig:
    return replace(config, initialize_from=InitializeFrom(uri=uri, **wanted))


def _weights(store, key: str) -> dict[str, torch.Tensor]:
    return load(store.read(f"{key}/model.safetensors"))


def _last(store) -> str:
    return max(key.rpartition("/")[0] for key in store.keys("") if key.endswith("checkpoint.json"))


def test_a_trial_starts_from_the_best_epoch_of_another_and_says_what_it_took(
    run, config, caplog
) -> None:
    first, source = run(config, "source")
    still = {"learning_rate": 1e-12, "weight_decay": 0.0, "epochs": 1, "seed": 7}
    with caplog.at_level("INFO", logger="aufleet.training.initial"):
        second, store = run(replace(_start(config, source.uri, fresh=["classifier"]), **still), "b")
    before, after = _weights(source, first.checkpoint), _weights(store, second.checkpoint)
    for name in ("stem.conv1.weight", "stem.layer4.1.conv2.weight"):
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)
    assert not torch.allclose(after["classifier.weight"], before["classifier.weight"])
    assert second.initialized is not None
    assert second.initialized["copied"] == ("stem",)
    assert second.initialized["fresh"] == ("classifier",)
    assert second.initialized["seen"] == [{"dataset": "nowhere", "fold": 1}]
    file = source.read(f"{first.checkpoint}/model.safetensors")
    assert second.initialized["sha256"] == sha256_of(file)
    index = json.loads(store.read(f"{_last(store)}/checkpoint.json"))
    assert index["initialized"] == json.loads(json.dumps(second.initialized))
    assert "copied stem; fresh classifier" in caplog.text


@pytest.mark.parametrize("wanted", [True, False])
def test_the_optimizer_goes_on_where_that_is_wanted(run, config, wanted) -> None:
    config = replace(config, optimizer="adamw", learning_rate=0.001)
    first, source = run(config, "source")
    start = replace(_start(config, source.uri, optimizer=wanted), epochs=1, seed=3)
    _, store = run(start, "b")
    steps = [
        load(place.read(f"{key}/optimizer.safetensors"))["step:stem.conv1.weight"]
        for place, key in ((source, first.checkpoint), (store, _last(store)))
    ]
    per_epoch = steps[0] / first.best_epoch
    assert steps[1] == per_epoch + (steps[0] if wanted else 0)


def test_an_optimizer_is_not_taken_over_beside_a_part_of_the_weights(run, config) -> None:
    _, source = run(config, "source")
    start = replace(_start(config, source.uri, optimizer=True, parts=["stem"]), seed=3)
    with pytest.raises(ConfigError, match="an optimizer's state belongs to all weights"):
        run(start, "b")
    assert "optimizer" not in _start(config, source.uri).settings["initialize_from"]


def test_a_resumed_trial_needs_its_source_no_more_and_has_the_same_bits(run, config) -> None:
    _, source = run(config, "source")
    start = replace(_start(config, source.uri), epochs=3, seed=1)
    whole, straight = run(start, "whole")
    run(start, "broken", stop_after=1)
    for key in source.keys(""):
        source.delete(key)
    again, broken = run(start, "broken")
    assert again.initialized == json.loads(json.dumps(whole.initialized))
    key = _last(straight)
    assert broken.read(f"{_last(broken)}/model.safetensors") == straight.read(
        f"{key}/model.safetensors"
    )
    finished, _ = run(start, "broken")
    assert finished.initialized == again.initialized


@pytest.mark.parametrize("kind", ["trial", "checkpoint", "file of a checkpoint"])
def test_another_fold_of_the_same_data_is_refused_however_it_is_named(run, config, kind) -> None:
    result, source = run(config, "source")
    uri = {
        "trial": source.uri,
        "checkpoint": source.uri_of(result.checkpoint),
        "file of a checkpoint": source.uri_of(f"{result.checkpoint}/model.safetensors"),
    }[kind]
    with pytest.raises(ConfigError) as caught:
        run(replace(_start(config, uri), fold=2), "other")
    assert "fold 2 cannot start from" in str(caught.value)
    assert "on which fold 2 is tested: start from the same fold" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_leak_is_seen_through_a_model_in_between(run, config) -> None:
    _, first = run(config, "first")
    _, middle = run(replace(_start(config, first.uri), dataset="elsewhere"), "middle")
    run(replace(_start(config, middle.uri), fold=1, seed=5), "same fold")
    with pytest.raises(ConfigError, match="fold 2 cannot start from"):
        run(replace(_start(config, middle.uri), fold=2), "other fold")


def test_the_fold_stands_for_itself_in_the_uri(run, config, tmp_path) -> None:
    for fold in (1, 2):
        run(replace(config, fold=fold), f"first/fold{fold}")
    for fold in (1, 2):
        start = replace(_start(config, f"{tmp_path}/first/fold{{fold}}"), fold=fold)
        result, _ = run(start, f"second/fold{fold}")
        assert result.initialized is not None
        assert f"first/fold{fold}/" in result.initialized["uri"]


def test_units_are_mapped(run, fold, listener, config, tmp_path) -> None:
    first, source = run(config, "source")
    other = replace(
        _start(config, source.uri, parts=["stem", "classifier"], units={2: 12}), units=(2, 25, 1)
    )
    other = replace(other, learning_rate=1e-12, weight_decay=0.0, epochs=1)
    data = _with_units(fold, (2, 25, 1))(config=other)
    store = open_store(str(tmp_path / "mapped"))
    second = run_trial(other, store=store, report=listener(), data=data)
    assert second.initialized is not None
    assert second.initialized["units"] == {2: 12, 25: 25, 1: 1}
    before, after = (
        _weights(s, r.checkpoint)["classifier.weight"]
        for s, r in ((source, first), (store, second))
    )
    torch.testing.assert_close(after, before[[1, 2, 0]], atol=1e-6, rtol=0)
    assert "units 2 from 12" not in describe(second.initialized)  # every unit has a source


def _with_units(kind: type, units: tuple[int, ...]) -> type:
    return type("OtherUnits", (kind,), {"units": property(lambda self: units)})


def test_a_public_file_fills_the_stem_and_its_digest_is_noted(run, config, tmp_path) -> None:
    stem = build_model("resnet18", task="au", units=[1], width=0.0625).stem.state_dict()
    data = save({**stem, "fc.weight": torch.zeros(1000, 32)})
    (tmp_path / "r18.safetensors").write_bytes(data)
    start = _start(config, f"{tmp_path}/r18.safetensors", into="stem")
    result, _ = run(start, "b")
    assert result.initialized is not None
    assert result.initialized["sha256"] == sha256_of(data)
    assert result.initialized["copied"] == ("stem",)
    assert result.initialized["unused"] == ("stem.fc",)
    assert result.initialized["seen"] == []


@pytest.mark.parametrize("suffix", ["pt", "pth", "bin", "PTH", "ckpt"])
def test_a_pickle_is_never_read_and_the_way_out_is_named(config, tmp_path, suffix) -> None:
    path = tmp_path / f"stem.{suffix}"
    path.write_bytes(pickle.dumps({"conv1.weight": [1.0]}))
    with pytest.raises(ConfigError, match=r"a pickle, which is never read: run python -c .*save_f"):
        read_source(InitializeFrom(uri=str(path)), fold=1)


def test_a_place_below_the_root_is_found_there(run, config, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AUFLEET_ROOT", str(tmp_path))
    result, store = run(config, "experiments/first/fold1")
    source = read_source(InitializeFrom(uri="experiments/first/fold{fold}"), fold=1)
    assert source.uri == store.uri_of(f"{result.checkpoint}/model.safetensors")


def test_a_pickle_under_another_name_is_not_read_either(tmp_path) -> None:
    path = tmp_path / "stem.safetensors"
    path.write_bytes(pickle.dumps({"conv1.weight": [1.0]}))
    with pytest.raises(ConfigError, match=r"stem\.safetensors is not a safetensors file"):
        read_source(InitializeFrom(uri=str(path)), fold=1)


def test_what_is_not_there_or_not_finished_is_named(run, config, tmp_path) -> None:
    for uri, sentence in (
        (f"{tmp_path}/nothing", "there is no model at .*nothing to start from"),
        (f"{tmp_path}/nothing.safetensors", "there is no file .*nothing.safetensors to start"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            read_source(InitializeFrom(uri=uri), fold=1)
    _, store = run(config, "half", stop_after=1)
    with pytest.raises(ConfigError, match="has 1 of 2 epochs: finish it first"):
        read_source(InitializeFrom(uri=store.uri), fold=1)


def test_a_part_that_does_not_fit_ends_the_trial_with_one_sentence(run, config) -> None:
    _, source = run(config, "source")
    for wanted, sentence in (
        ({"parts": ["stemm"]}, "resnet18 cannot start from .*no part 'stemm'"),
        ({"units": {2: 1}}, "units names 2, which the network does not detect"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            run(_start(config, source.uri, **wanted), "b")
    with pytest.raises(ConfigError, match=r"nothing fits: stem\.conv1\.weight has shape"):
        run(replace(_start(config, source.uri, fresh=["classifier"]), width=0.25), "c")


def _package(root, *, members=("fold1", "fold2"), dataset="nowhere") -> str:
    network = build_model("resnet18", task="au", units=[1, 12, 25], width=0.0625, frame_size=16)
    card, weights = a_package(
        {name: network.state_dict() for name in members},
        network.config,
        kind="ensemble",
        units=(1, 12, 25),
        frame_size=16,
        thresholds={},
        dataset=DatasetReference(uri=dataset, manifest_sha256="0" * 64),
    )
    return write_package(card, weights, root=root)


def test_a_package_gives_the_member_of_the_same_fold(run, config, tmp_path) -> None:
    uri = _package(open_store(str(tmp_path / "root")))
    result, _ = run(replace(_start(config, uri), fold=2), "b")
    assert result.initialized is not None
    assert result.initialized["uri"].endswith("model.safetensors#fold2")
    assert result.initialized["fresh"] == ()
    with pytest.raises(ConfigError, match=r"fold 2 cannot start from .*#fold1"):
        run(replace(_start(config, uri, member="fold1"), fold=2), "c")
    with pytest.raises(ConfigError, match=r"has no member fold3: .* one of fold1, fold2"):
        run(replace(_start(config, uri), fold=3), "d")


def test_no_fold_starts_from_what_was_trained_on_everyone(run, config, tmp_path) -> None:
    root = open_store(str(tmp_path / "root"))
    uri = _package(root, members=("refit",), dataset=config.dataset)
    with pytest.raises(ConfigError, match=r"cannot start from .*#refit: it was trained on"):
        run(_start(config, uri), "b")


def test_a_setting_of_its_own_makes_another_configuration() -> None:
    plain = TrialConfig.from_settings(SETTINGS)
    named = TrialConfig.from_settings(SETTINGS | {"initialize_from": "models/x"})
    assert named.initialize_from == InitializeFrom(uri="models/x")
    mapped = {"uri": "models/x", "units": {25: 23, 9: None}}
    third = TrialConfig.from_settings(SETTINGS | {"initialize_from": mapped})
    assert len({plain.config_id, named.config_id, third.config_id}) == 3
    assert TrialConfig.from_settings(third.settings) == third
    from_json = TrialConfig.from_settings(json.loads(json.dumps(third.settings)))
    assert (from_json, from_json.config_id) == (third, third.config_id)
    assert TrialConfig.from_settings(SETTINGS | {"initialize_from": None}).config_id == (
        plain.config_id
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"uri": "x", "prts": []}, "'initialize_from.prts': did you mean 'initialize_from.parts'"),
        ({}, "'initialize_from.uri' is missing"),
        ({"uri": ""}, "'initialize_from.uri'"),
        ({"uri": "x", "units": {"a": 1}}, "'initialize_from.units"),
    ],
)
def test_a_wrong_key_is_named(given, sentence) -> None:
    with pytest.raises(ConfigError, match=sentence):
        TrialConfig.from_settings(SETTINGS | {"initialize_from": given})


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_parts_have_learning_rates_of_their_own(run, config, stage) -> None:
    moving = replace(config, zero_stage=stage, weight_decay=0.0, epochs=1)
    result, store = run(replace(moving, learning_rates={"stem": 0.0, "stem.layer4": 0.5}), "a")
    first, _ = run(replace(moving, learning_rate=1e-12), "b")
    after = _weights(store, result.checkpoint)
    before = _weights(open_store(store.uri.replace("/a", "/b")), first.checkpoint)
    for name in ("stem.conv1.weight", "stem.layer3.0.conv1.weight"):
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)
    for name in ("stem.layer4.0.conv1.weight", "classifier.weight"):
        assert not torch.allclose(after[name], before[name], atol=1e-5)


def test_learning_rates_keep_the_bits_over_stages_and_resumes(run, config) -> None:
    config = replace(config, learning_rates={"stem": 0.5}, epochs=3)
    files = []
    for stage in (0, 1, 2, 3):
        _, store = run(replace(config, zero_stage=stage), f"stage{stage}", stop_after=2)
        _, store = run(replace(config, zero_stage=stage), f"stage{stage}")
        files.append(store.read(f"{_last(store)}/model.safetensors"))
    _, straight = run(config, "straight")
    assert set(files) == {straight.read(f"{_last(straight)}/model.safetensors")}


def test_a_learning_rate_of_no_part_is_refused(run, config) -> None:
    with pytest.raises(
        ConfigError, match=r"names 'head', which resnet18 does not train: .* stem, c"
    ):
        run(replace(config, learning_rates={"head": 0.5}), "a")
