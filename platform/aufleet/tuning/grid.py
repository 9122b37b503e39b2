"""The grid: models x folds x sampled hyperparameters, as trials."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from aufleet.errors import ConfigError
from aufleet.storage import Store, open_store
from aufleet.training.config import TrialConfig, option_names
from aufleet.tuning.experiment import Experiment
from aufleet.tuning.ledger import ConfigurationRecord, trial_id
from aufleet.tuning.sampler import Point, Sampler, sampler_for
from aufleet.tuning.starts import LeftOutError, NamedTrials, StartFinder

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
    row: str = ""
    """Its name in the table; empty in a search."""
    after: Mapping[int, str] = field(default_factory=dict)
    """Fold -> name of the trial whose weights it starts from, where that is one of the same
    experiment."""

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


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a configuration stands in a table."""

    row: str = ""
    """Its name."""
    above: Mapping[str, NamedTrials] = field(default_factory=dict)
    """The rows above it that run."""


def configuration_of(
    experiment: Experiment,
    *,
    root: Store,
    model: str,
    point: Point,
    index: int,
    place: "Place | None" = None,
) -> Configuration:
    """Return the configuration of a point.

    Args:
        experiment: What is searched.
        root: The root store.
        model: Name of the network.
        point: Settings beside the fixed ones.
        index: The point's number.
        place: Where it stands in a table; None in a search.

    Raises:
        ConfigError: A value of the point, or of the fixed settings, is not valid.
        LeftOutError: The model that it starts from is not there.
    """
    understood = _SETTINGS | option_names(model)
    mine = {key: value for key, value in point.items() if key in understood}
    given = experiment.fixed | experiment.per_model.get(model, {})
    shared = {key: value for key, value in given.items() if key in understood}
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
    place = place or Place()
    after: Mapping[int, str] = {}
    if settings.get("initialize_from"):
        finder = StartFinder(
            experiment=experiment.name,
            root=root,
            folds=experiment.folds,
            inputs=experiment.inputs,
            given=experiment.given,
            rows=place.above,
        )
        start = finder.find(settings["initialize_from"], row=place.row)
        settings["initialize_from"], after = start.setting, start.after
    trials = [TrialConfig.from_settings({**settings, "fold": fold}) for fold in experiment.folds]
    return Configuration(
        index=index, model=model, point=mine, trials=tuple(trials), row=place.row, after=after
    )


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of an experiment."""

    configurations: tuple[Configuration, ...]
    """Those that run, in the order of the file."""
    left_out: Mapping[str, str]
    """Row -> why it does not run."""


def table_of(experiment: Experiment, *, root: Store) -> Table:
    """Return the configurations of an experiment's rows.

    Raises:
        ConfigError: A setting is not valid, or two rows are the same.
    """
    found: dict[str, Configuration] = {}
    left_out: dict[str, str] = {}
    for index, (name, row) in enumerate(experiment.rows.items()):
        if row.left_out:
            left_out[name] = row.left_out
            continue
        above = {
            other: NamedTrials(model=one.model, config_id=one.config_id)
            for other, one in found.items()
        }
        try:
            found[name] = configuration_of(
                experiment,
                root=root,
                model=row.model or experiment.models[0],
                point=row.settings,
                index=index,
                place=Place(row=name, above=above),
            )
        except LeftOutError as error:
            left_out[name] = str(error)
    names: dict[str, str] = {}
    for name, one in found.items():
        if one.config_id in names:
            raise ConfigError(
                f"rows {names[one.config_id]} and {name} are the same configuration",
                "leave one out, or correct its settings",
            )
        names[one.config_id] = name
    return Table(configurations=tuple(found.values()), left_out=left_out)


class Source(Protocol):
    """Where configurations come from."""

    def next_configuration(self) -> Configuration | None:
        """Return the next configuration, or None where there is none now."""
        ...

    def observe(self, configuration: Configuration, score: float | None) -> None:
        """Hear the mean score of a configuration, or None where it failed."""
        ...

    def observe_stop(self, configuration: Configuration, score: float, *, epoch: int) -> None:
        """Hear the mean score at which a configuration was given up."""
        ...

    @property
    def waits(self) -> bool:
        """Whether there will be another configuration once those that run have ended."""
        ...

    @property
    def learns(self) -> bool:
        """Whether what it hears decides what comes next."""
        ...


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
        self._rows = iter(table_of(experiment, root=root).configurations)
        self._known = {(record.model, record.index): record.point for record in known}
        searched = () if experiment.rows else experiment.models
        self._samplers: dict[str, Sampler] = {model: sampler_for(experiment) for model in searched}
        self._seen: set[str] = set()
        num_points = max((one.num_points for one in self._samplers.values()), default=0)
        self._order = iter(
            [(index, model) for index in range(num_points) for model in self._samplers]
        )

    def next_configuration(self) -> Configuration | None:
        """Return the next configuration, or None after the last one.

        Points that differ only in options that a model does not have are one configuration.
        """
        if self._experiment.rows:
            return next(self._rows, None)
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
        if not configuration.row:
            self._samplers[configuration.model].observe(configuration.index, score)

    def observe_stop(self, configuration: Configuration, score: float, *, epoch: int) -> None:
        """Tell the sampler the mean score at which a configuration was given up."""
        if not configuration.row:
            sampler = self._samplers[configuration.model]
            sampler.observe_stop(configuration.index, score, epoch=epoch)

    @property
    def waits(self) -> bool:
        """Whether there will be another configuration once those that run have ended."""
        return False

    @property
    def learns(self) -> bool:
        """Whether what it hears decides what comes next."""
        return self._experiment.sampler.kind == "optuna"

    def _point(self, index: int, *, model: str) -> Point:
        sampler = self._samplers[model]
        known = self._known.get((model, index))
        if known is None:
            return sampler.propose(index)
        sampler.recall(index, known)
        return known
