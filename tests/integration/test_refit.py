"""A winner trained once more, on everyone."""

from pathlib import Path

import pytest
import torch
from painted import publish_painted

from aufleet.data.dataset import open_dataset
from aufleet.errors import ConfigError
from aufleet.storage import Store, open_store
from aufleet.training import EpochReport, TrialConfig, join_ranks
from aufleet.training.fold_data import open_fold, open_test
from aufleet.training.refit import Refit


@pytest.fixture
def root(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "root"))


@pytest.fixture
def refit(root: Store) -> Refit:
    settings = {"model": "resnet18", "width": 0.0625, "fold": 2, "epochs": 4, "batch": 8}
    config = TrialConfig.from_settings(settings | {"dataset": publish_painted(root), "ranks": 2})
    return Refit.of(config, best_epochs=[1, 4, 2])


def _shrug(report: EpochReport) -> None:
    del report


def test_it_takes_as_long_as_the_middle_fold_and_the_shares_of_the_ranks(refit: Refit) -> None:
    config = refit.config
    assert (refit.epochs, config.epochs) == (2, 4)
    assert (config.fold, config.ranks, config.accumulation) == (0, 1, 2)


def test_everyone_is_trained_on_and_nobody_can_be_tested(refit: Refit) -> None:
    dataset = open_dataset(refit.config.dataset)
    size = {"frame_size": 176, "ranks": join_ranks()}
    assert open_fold(refit.config).train(**size).num_frames == dataset.manifest.num_frames
    assert dataset.manifest.subjects_known_to(0) == dataset.manifest.subjects
    with pytest.raises(ConfigError, match="there is no fold 0"):
        open_test(refit.config).test(**size)


def test_stopped_it_goes_on_to_the_same_weights_and_finished_it_trains_no_more(
    refit: Refit, root: Store
) -> None:
    whole, stopped = root.child("whole"), root.child("stopped")
    seen: list[int] = []

    def stop(report: EpochReport) -> None:
        seen.append(report.epoch)
        raise KeyboardInterrupt

    expected = refit.run(whole, watch=_shrug)
    with pytest.raises(KeyboardInterrupt):
        refit.run(stopped, watch=stop)
    found = refit.run(stopped, watch=lambda report: seen.append(report.epoch))

    assert seen == [1, 2]
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    refit.run(stopped, watch=stop)
    assert seen == [1, 2]
