"""How much an experiment is, before it runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aufleet.errors import ConfigError
from aufleet.storage import Store
from aufleet.tuning.experiment import Experiment
from aufleet.tuning.grid import Configuration, ConfigurationSource, Source, table_of
from aufleet.tuning.ledger import ConfigurationRecord
from aufleet.tuning.population import Population, count_of_population


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much an experiment is, before it runs."""

    configurations: int
    folds: tuple[int, ...]
    resources_per_trial: dict[str, float]
    rows: Mapping[str, str] = field(default_factory=dict)
    """Row -> its config_id, of those that run."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Row -> why it does not run."""
    drawn: tuple[Configuration, ...] = ()
    """Configurations as they will be, or as many like them where scores decide about later ones."""

    @property
    def trials(self) -> int:
        """Configurations times folds."""
        return self.configurations * len(self.folds)

    def require_some(self, experiment: str) -> None:
        """Refuse a table of which no row can run.

        Raises:
            ConfigError: With the first row's reason.
        """
        if not self.configurations:
            row, reason = next(iter(self.left_out.items()))
            raise ConfigError(f"no row of {experiment} can run; {row}", reason)


def plan_of(experiment: Experiment, *, root: Store) -> Plan:
    """Return the size of an experiment; drawing its configurations checks each one's settings.

    Raises:
        ConfigError: A configuration is not valid.
    """
    drawn = experiment
    if experiment.sampler.kind == "optuna":
        # Independent draws check the same settings, and take no time.
        sampler = experiment.sampler.model_copy(update={"kind": "random"})
        drawn = experiment.model_copy(update={"sampler": sampler})
    source = ConfigurationSource(drawn, root=root)
    configurations: list[Configuration] = []
    while (one := source.next_configuration()) is not None:
        configurations.append(one)
    number = len(configurations)
    if experiment.early_stopping.kind == "pbt":
        number = count_of_population(experiment, root=root)
    resources = experiment.resources
    left_out = table_of(experiment, root=root).left_out
    return Plan(
        configurations=number,
        folds=experiment.folds,
        resources_per_trial={
            "ranks": resources.ranks,
            "cpus": resources.ranks * resources.cpus_per_rank,
            "gpus": resources.ranks * resources.gpus_per_rank,
        },
        rows={one.row: one.config_id for one in configurations if one.row},
        left_out=left_out,
        drawn=tuple(configurations),
    )


def source_of(
    experiment: Experiment, *, root: Store, known: Iterable[ConfigurationRecord] = ()
) -> Source:
    """Return what hands out the configurations of an experiment.

    Args:
        experiment: What is searched.
        root: The root store.
        known: What earlier runs handed out.
    """
    if experiment.early_stopping.kind == "pbt":
        return Population(experiment, root=root, known=known)
    return ConfigurationSource(experiment, root=root, known=known)
