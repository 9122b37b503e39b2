"""Tables of named rows, and values from the command line."""

import pytest
import yaml

from aufleet.errors import ConfigError
from aufleet.tuning.experiment import parse_experiment
from aufleet.tuning.final_scores import FinalScores
from aufleet.tuning.grid import ConfigurationSource, table_of
from aufleet.tuning.ledger import ConfigurationRecord, Ledger
from aufleet.tuning.plan import plan_of

from .conftest import record_of

TABLE = {
    "name": "table",
    "task": "au",
    "dataset": "faces/1",
    "models": ["algrnet"],
    "fixed": {"epochs": 3},
    "rows": {
        "without": {"label": "w/o", "settings": {"fusion": False}, "published": {"mean": 62.8}},
        "full": {},
    },
}


def parse(changes=None, **keys):
    return parse_experiment(
        yaml.safe_dump({**TABLE, **keys}, sort_keys=False), source="t.yaml", changes=changes
    )


def all_of(experiment, root):
    return list(iter(ConfigurationSource(experiment, root=root).next_configuration, None))


def test_each_row_is_a_configuration_that_keeps_its_name(root):
    found = all_of(parse(), root)
    assert [(one.row, one.index, one.point) for one in found] == [
        ("without", 0, {"fusion": False}),
        ("full", 1, {}),
    ]
    assert [one.trials[0].options for one in found] == [{"fusion": False}, {}]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"rows": {"a": {"setings": {}}}}, "unknown key 'rows.a.setings': did you mean 'settings'"),
        ({"rows": {"a": {"settings": {"epocs": 1}}}}, "'rows.a.settings.epocs': did you mean 'ep"),
        ({"rows": {"a": {"settings": {"fold": 1}}}}, "rows.a.settings.fold is set for the whole"),
        ({"rows": {"w/o": {}}}, "rows"),
        ({"rows": {"a": {"model": "lgrnet"}}}, "'lgrnet' is not among the models"),
        ({"models": ["algrnet", "lgrnet"]}, "rows.without must say its model"),
        ({"search": {"width": {"choice": [1]}}}, "leave search and sampler out"),
        ({"early_stopping": {"kind": "asha"}}, "every row is trained whole"),
        ({"given": {"stem": "x"}}, "given names stem, which is not among the inputs"),
    ],
)
def test_a_mistake_in_a_table_is_one_sentence(keys, sentence):
    with pytest.raises(ConfigError) as caught:
        parse(**keys)
    assert str(caught.value).startswith("t.yaml")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_rows_that_are_the_same_configuration_are_refused(root):
    with pytest.raises(ConfigError, match="rows a and b are the same configuration"):
        table_of(parse(rows={"a": {}, "b": {"label": "B"}}), root=root)


def test_values_are_given_in_the_place_of_the_file_s():
    changed = parse(
        {"epochs": 5, "dataset": "other/1", "resources.ranks": 2, "fixed.batch": 8, "folds": [1]}
    )
    assert changed.fixed == {"epochs": 5, "batch": 8}
    assert (changed.dataset, changed.resources.ranks, changed.folds) == ("other/1", 2, (1,))
    assert parse({"stem": "x.safetensors"}, inputs={"stem": "a trunk"}).given == {
        "stem": "x.safetensors"
    }
    searched = {"rows": {}, "search": {"learning_rate": {"choice": [0.1, 0.2]}}}
    pinned = parse({"learning_rate": 0.3}, **searched)
    assert (pinned.fixed["learning_rate"], pinned.search) == (0.3, {})
    with pytest.raises(ConfigError, match=r"unknown key 'fixed\.epocs'"):
        parse({"epocs": 1})
    with pytest.raises(ConfigError, match=r"--set name\.x: name holds no keys"):
        parse({"name.x": 1})


def test_explanations_and_inputs_may_change_when_a_table_is_continued(root):
    ledger = Ledger(root.child("experiments/table"))
    ledger.open_experiment(parse(inputs={"stem": "a trunk"}))
    rows = {**TABLE["rows"], "full": {"label": "All", "published": {"mean": 63.5}}}
    ledger.open_experiment(parse({"stem": "x"}, inputs={"stem": "a trunk"}, rows=rows))
    with pytest.raises(ConfigError, match="another value of 'rows'"):
        ledger.open_experiment(parse(rows={"full": {}}))


def test_a_start_names_a_row_of_this_or_another_table(root):
    start = {"initialize_from": {"uri": "rows/full/fold{fold}", "parts": ["stem"]}}
    rows = {"full": {}, "next": {"settings": start | {"fusion": False}}}
    full, following = all_of(parse(rows=rows), root)
    folder = root.uri_of(f"experiments/table/trials/algrnet/{full.config_id}")
    assert following.trials[0].initialize_from.uri == f"{folder}/fold{{fold}}"
    assert following.after == {fold: f"algrnet/{full.config_id}/fold{fold}" for fold in (1, 2, 3)}

    other = parse({"initialize_from": "experiments/table/rows/{row}/fold2"}, name="other")
    plan = plan_of(other, root=root)
    assert plan.configurations == 0
    assert "there is no row full at" in plan.left_out["full"]
    with pytest.raises(ConfigError, match="no row of other can run; without: there is no row"):
        plan.require_some("other")
    Ledger(root.child("experiments/table")).add_configuration(
        ConfigurationRecord(model="algrnet", index=1, point={}, config_id="c" * 10, row="full")
    )
    [found] = all_of(other, root)
    assert found.trials[2].initialize_from.uri == root.uri_of(
        f"experiments/table/trials/algrnet/{'c' * 10}/fold2"
    )
    assert found.after == {}


def test_a_start_below_the_root_or_in_a_folder_becomes_a_whole_uri(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for uri, whole in (
        ("models/abc", root.uri_of("models/abc")),
        ("stem.safetensors", str(tmp_path / "stem.safetensors")),
        ("s3://b/stem.safetensors", "s3://b/stem.safetensors"),
    ):
        [one, *_] = all_of(parse({"initialize_from": {"uri": uri}}), root)
        assert one.trials[0].initialize_from.uri == whole


def test_a_row_starts_only_from_a_row_above_it(root):
    rows = {"a": {"settings": {"initialize_from": "rows/b/fold1"}}, "b": {}}
    assert table_of(parse(rows=rows), root=root).left_out == {
        "a": "it starts from b, which is left out or no row above it"
    }


def test_every_row_that_has_all_its_folds_is_scored(root, heard):
    ledger = Ledger(root.child("experiments/table"))
    for config_id, folds in (("a" * 10, (1, 2)), ("b" * 10, (1, 2)), ("c" * 10, (1,))):
        for fold in folds:
            ledger.add_trial(record_of(config_id, fold=fold, row=config_id[:1]))
    scores = FinalScores(ledger, folds=(1, 2), listener=heard, of_all=True)
    found = [one[0] for one in iter(scores.next, None)]
    assert sorted((one.row, one.fold) for one in found) == [
        ("a", 1), ("a", 2), ("b", 1), ("b", 2),
    ]  # fmt: skip
