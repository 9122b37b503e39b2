"""What the report says, without a browser."""

import pytest
from searching.made_up import UNITS, make_up

from aufleet.errors import ConfigError
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.report import read_content, render
from aufleet.tuning.report.importance import importances
from aufleet.tuning.report.published import TABLES, table_for

from .conftest import record_of


def test_the_page_has_every_part_and_needs_nothing_else(root):
    store, _ = make_up(root)
    page = render(read_content(store))
    for title in (
        "Leaderboard", "F1 per unit", "Accuracy and AUC", "Landmarks", "Learning curves",
        "Settings", "Rungs", "Cost", "ALGRNet", "MGRR-Net", "best constant answer",
        "published on BP4D", "shuffle_labels=true", "why each was given up",
    ):  # fmt: skip
        assert title in page, title
    assert "http" not in page, "nothing is loaded from elsewhere"
    assert "<script" not in page
    assert "NaN at epoch 3" in page
    assert all(unit in page for unit in UNITS)


def test_the_rungs_are_those_of_the_search(root):
    store, _ = make_up(root)
    content = read_content(store)
    stops = {one.config_id: one for one in Ledger(store).stops()}
    assert stops
    for family in content.families:
        assert {one.epoch for one in family.rungs} <= {0, 2, 6, 18}
        assert family.cost.epochs < family.cost.all_epochs
        assert {row.config_id for row in family.rows if row.status == "stopped"} <= set(stops)


def test_an_experiment_that_has_only_begun_is_a_page_too(root, experiment):
    store = root.child("experiments/small")
    with pytest.raises(ConfigError, match="there is no experiment"):
        read_content(store)
    ledger = Ledger(store)
    ledger.open_experiment(experiment)
    assert "small" in render(read_content(store))
    ledger.add_trial(record_of(status="crashed", score=None, reason="<b>it broke</b>"))
    assert "<b>it broke" not in render(read_content(store))


def test_shuffled_labels_stand_beside_the_leaderboard(root, experiment):
    for name, shuffled, score in (("small", False, 0.5), ("small-shuffled", True, 0.123)):
        ledger = Ledger(root.child(f"experiments/{name}"))
        ledger.open_experiment(
            experiment.model_copy(update={"name": name, "shuffle_labels": shuffled})
        )
        for fold in (1, 2, 3):
            ledger.add_trial(record_of(fold=fold, score=score))
    page = render(read_content(root.child("experiments/small")))
    assert "shuffled labels" in page
    assert "12.3" in page


def test_the_means_of_the_published_tables_are_those_of_their_rows():
    odd = {("FPara", "JÂA-Net")}  # the paper's own sum is wrong: specs, pitfall 29
    for table in TABLES:
        for row in table.f1:
            mean = sum(row.per_label.values()) / len(row.per_label)
            assert (table.dataset, row.method) in odd or abs(mean - row.mean) < 0.11
    assert table_for(["AU1", "AU25", "AU26"], dataset="faces/1").dataset == "DISFA"
    assert table_for(["AU1"], dataset="s3://b/datasets/bp4d/1").dataset == "BP4D"
    assert table_for(["AU99"], dataset="faces/1") is None


def test_importance_is_the_share_that_a_setting_explains():
    points = [{"a": index % 2, "b": (index // 2) % 2, "c": 0.1 * index} for index in range(16)]
    shares = importances(points, [float(point["a"]) for point in points])
    assert shares["a"] == pytest.approx(1.0)
    assert shares["b"] == 0.0
    assert importances(points[:3], [0.1, 0.2, 0.3]) == {}
