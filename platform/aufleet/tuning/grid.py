"""The grid: models x folds x sampled hyperparameters, as trials."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from aufleet.storage import Store, open_store
from aufleet.training.config import TrialConfig, option_names
from aufleet.tuning.experiment import Experiment
from aufleet.tuning.ledger import ConfigurationRecord, trial_id
from aufleet.tuning.sampler import Point, Sampler, sampler_for

_SETTINGS = frozenset(one.name for one in fields(TrialConfig))


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One model with one set of hyperparameters: the same for all its folds."""

    index: int
    """The sampler's point that it stands for."""
    model: str
    point: Point
    """The searched settings and their values."""
    trials: tuple[TrialConfig, ...]
    """One trial per fold, in the experiment's order of folds."""

    @property
    def config_id(self) -> str:
        """Ten hex digits that name everything but the fold."""
        return self.trials[0].config_id


def id_of(trial: TrialConfig) -> str:
    """Return the name of a trial."""
    return trial_id(trial.model, config_id=trial.config_id, fold=trial.fold)


def dataset_uri(experiment: Experiment, *, root: Store) -> str:
    """Return the whole URI of the data set; "name/version" is one below the root."""
    dataset = experiment.dataset
    is_whole = "://" in dataset or dataset.startswith(("/", "."))
    return open_store(dataset).uri if is_whole else root.uri_of(f"datasets/{dataset}")


def configuration_of(
    experiment: Experiment, *, root: Store, model: str, point: Point, index: int
) -> Configuration:
    """Return the configuration of a point.

    Raises:
        ConfigError: A value of the point, or of the fixed settings, is not valid.
    """
    understood = _SETTINGS | option_names(model)
    mine = {key: value for key, value in point.items() if key in understood}
    shared = {key: value for key, value in experiment.fixed.items() if key in understood}
    settings: dict[str, Any] = {
        "ranks": experiment.resources.ranks,
        "threads": experiment.resources.cpus_per_rank,
        **shared,
        **mine,
        "model": model,
        "task": experiment.task,
        "dataset": dataset_uri(experiment, root=root),
        "shuffle_labels": experiment.shuffle_labels,
    }
    trials = [TrialConfig.from_settings({**settings, "fold": fold}) for fold in experiment.folds]
    return Configuration(index=index, model=model, point=mine, trials=tuple(trials))


class ConfigurationSource:
    """Hands out the configurations of an experiment, each model's next point in turn."""

    def __init__(
        self, experiment: Experiment, *, root: Store, known: Iterable[ConfigurationRecord] = ()
    ) -> None:
        """Start at the first configuration.

        Args:
            experiment: What is searched.
            root: The root store, for relative URIs of data sets.
            known: What earlier runs handed out: handed out again, never drawn anew.
        """
        self._experiment, self._root = experiment, root
        self._known = {(record.model, record.index): record.point for record in known}
        self._samplers: dict[str, Sampler] = {
            model: sampler_for(experiment) for model in experiment.models
        }
        self._seen: set[str] = set()
        num_points = max(sampler.num_points for sampler in self._samplers.values())
        self._order = iter(
            [(index, model) for index in range(num_points) for model in experiment.models]
        )

    def next_configuration(self) -> Configuration | None:
        """Return the next configuration, or None after the last one.

        Points that differ only in options that a model does not have are one configuration.
        """
        for index, model in self._order:
            configuration = configuration_of(
                self._experiment,
                root=self._root,
                model=model,
                point=self._point(index, model=model),
                index=index,
            )
            if configuration.config_id not in self._seen:
                self._seen.add(configuration.config_id)
                return configuration
        return None

    def observe(self, configuration: Configuration, score: float | None) -> None:
        """Tell the sampler the mean score of a configuration, or None where it failed."""
        self._samplers[configuration.model].observe(configuration.index, score)

    def _point(self, index: int, *, model: str) -> Point:
        sampler = self._samplers[model]
        known = self._known.get((model, index))
        if known is None:
            return sampler.propose(index)
        sampler.recall(index, known)
        return known


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much an experiment is, before it runs."""

    configurations: int
    folds: tuple[int, ...]
    resources_per_trial: dict[str, float]

    @property
    def trials(self) -> int:
        """Configurations times folds."""
        return self.configurations * len(self.folds)


def plan_of(experiment: Experiment, *, root: Store) -> Plan:
    """Return the size of an experiment; drawing its configurations checks each one's settings.

    Raises:
        ConfigError: A configuration is not valid.
    """
    source = ConfigurationSource(experiment, root=root)
    configurations = []
    while (one := source.next_configuration()) is not None:
        configurations.append(one)
    resources = experiment.resources
    return Plan(
        configurations=len(configurations),
        folds=experiment.folds,
        resources_per_trial={
            "ranks": resources.ranks,
            "cpus": resources.ranks * resources.cpus_per_rank,
            "gpus": resources.ranks * resources.gpus_per_rank,
        },
    )
