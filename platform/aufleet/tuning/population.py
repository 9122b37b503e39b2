"""Population based training: a member is a configuration with all its folds.

Members train for some epochs, a generation; then the worst of a family take over the weights and
settings of its best, a little changed, and all go on. All folds of a member do this together: fold
k starts from the donor's fold k and from nothing else, so no weight crosses folds or families.

Each generation is a configuration of its own, whose trials start from the trials of the one before
(`initialize_from`): the ledger tells the whole descent, and the training room refuses on its own a
start from a model that has seen the fold's test subjects. Weights and the state of the optimizer
are taken over, where the optimizer is the same. A generation begins when the one before has ended
whole, so that who replaces whom follows from scores and seed alone, not from who came first.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aufleet.errors import ConfigError
from aufleet.storage import Store
from aufleet.training.config import TrialConfig, option_names
from aufleet.tuning.experiment import Experiment, Range
from aufleet.tuning.grid import Configuration, configuration_of
from aufleet.tuning.ledger import ConfigurationRecord
from aufleet.tuning.sampler import Point, draw_point

START = "initialize_from"
_DRAWN_ANEW = 0.25
"""How often a taken-over choice is drawn anew."""
_SHAPE = {"width", "units", "options"}
"""Settings of a trial that decide its weights' shapes, beside the network's own options."""


@dataclass(frozen=True, kw_only=True)
class PopulationRules:
    """How a population develops."""

    members: int
    generations: int
    interval_epochs: int
    replaced: int
    perturbation: float
    seed: int

    @classmethod
    def of(cls, experiment: Experiment) -> "PopulationRules":
        """Return the rules of an experiment.

        Raises:
            ConfigError: The epochs are not generations times the interval.
        """
        settings = experiment.early_stopping
        interval = settings.interval_epochs or 2
        epochs = experiment.fixed.get("epochs", TrialConfig.__dataclass_fields__["epochs"].default)
        if epochs % interval:
            raise ConfigError(
                f"{epochs} epochs cannot be split into generations of {interval}",
                "let epochs be a multiple of early_stopping.interval_epochs",
            )
        members = settings.population or experiment.sampler.configurations or 2
        return cls(
            members=members,
            generations=epochs // interval,
            interval_epochs=interval,
            replaced=max(1, round(members * (settings.quantile or 0.25))),
            perturbation=settings.perturbation or 1.2,
            seed=experiment.sampler.seed,
        )


@dataclass(kw_only=True)
class _Family:
    """The members of one model."""

    model: str
    generation: int = 0
    waiting: list[int] = field(default_factory=list)
    """Members of this generation that are still to be handed out."""
    members: dict[int, Configuration] = field(default_factory=dict)
    """Those of this generation that were handed out."""
    scores: dict[int, float | None] = field(default_factory=dict)
    parents: dict[int, Configuration] = field(default_factory=dict)
    """Member -> the configuration of the generation before that it goes on from."""
    points: dict[int, Point] = field(default_factory=dict)


class Population:
    """Hands out configurations, generation after generation."""

    def __init__(
        self, experiment: Experiment, *, root: Store, known: Iterable[ConfigurationRecord] = ()
    ) -> None:
        """Start with the first generation.

        Args:
            experiment: What is searched.
            root: The root store.
            known: What earlier runs handed out: it follows from seed and scores, and is checked.
        """
        self._rules, self._root = PopulationRules.of(experiment), root
        self._store = root.child(f"experiments/{experiment.name}")
        fixed = {"schedule": "constant", **experiment.fixed, "epochs": self._rules.interval_epochs}
        self._experiment = experiment.model_copy(update={"fixed": fixed})
        self._known = {(one.model, one.index): one.config_id for one in known}
        self._families = [self._first(model) for model in experiment.models]

    def next_configuration(self) -> Configuration | None:
        """Return the next member, of the family that is furthest behind."""
        for family in sorted(self._families, key=lambda one: one.generation):
            if family.waiting:
                return self._make(family, family.waiting.pop(0))
        return None

    def observe(self, configuration: Configuration, score: float | None) -> None:
        """Hear how a member did; the last of a generation begins the next one."""
        family = next(one for one in self._families if one.model == configuration.model)
        member = configuration.index % self._rules.members
        family.scores[member] = score
        if len(family.scores) == self._rules.members:
            self._develop(family)

    def observe_stop(self, configuration: Configuration, score: float, *, epoch: int) -> None:
        """Hear that a member was given up; in a population nobody is."""
        self.observe(configuration, None)

    @property
    def waits(self) -> bool:
        """Whether another generation follows."""
        last = self._rules.generations - 1
        return any(
            one.waiting or (one.generation < last and len(one.scores) < self._rules.members)
            for one in self._families
        )

    @property
    def learns(self) -> bool:
        """Whether what it hears decides what comes next."""
        return True

    def _first(self, model: str) -> _Family:
        rules, search = self._rules, self._experiment.search
        return _Family(
            model=model,
            waiting=list(range(rules.members)),
            points={
                member: draw_point(search, seed=rules.seed, index=member)
                for member in range(rules.members)
            },
        )

    def _make(self, family: _Family, member: int) -> Configuration:
        index = family.generation * self._rules.members + member
        point = dict(family.points[member])
        if "seed" not in point:
            # Members that drew the same choices are still two.
            point["seed"] = self._experiment.fixed.get("seed", 0) + member
        if member in family.parents:
            parent = family.parents[member]
            folder = self._store.uri_of(f"trials/{parent.model}/{parent.config_id}")
            point[START] = {"uri": f"{folder}/fold{{fold}}", "optimizer": True}
        made = configuration_of(
            self._experiment, root=self._root, model=family.model, point=point, index=index
        )
        if self._known.get((family.model, index), made.config_id) != made.config_id:
            raise ConfigError(
                f"member {index} of {family.model} is not the one that the ledger names",
                "the population of an experiment cannot be changed: choose another name",
            )
        family.members[member] = made
        return made

    def _develop(self, family: _Family) -> None:
        """Begin the next generation, unless this was the last or nobody is left."""
        ranked = [one for one in family.scores if family.scores[one] is not None]
        ranked.sort(key=lambda one: (-(family.scores[one] or 0.0), one))
        if family.generation + 1 >= self._rules.generations or not ranked:
            return
        best = ranked[: self._rules.replaced]
        # Half of them at most is replaced, so nobody takes over from one that is replaced itself.
        kept = ranked[: max(len(best), self._rules.members - self._rules.replaced)]
        points, parents = {}, {}
        for member in range(self._rules.members):
            donor, point = member, family.points[member]
            if member not in kept:
                rng = random.Random(
                    f"{self._rules.seed}-{family.model}-{family.generation}-{member}"
                )
                donor = rng.choice(best)
                point = self._explore(family.points[donor], model=family.model, rng=rng)
            points[member], parents[member] = point, family.members[donor]
        family.points, family.parents = points, parents
        family.generation += 1
        family.scores, family.members = {}, {}
        family.waiting = list(range(self._rules.members))

    def _explore(self, point: Point, *, model: str, rng: random.Random) -> Point:
        """Return a point near another one; what decides the shape of weights stays."""
        shaped = _SHAPE | option_names(model)
        factor = self._rules.perturbation
        return {
            key: value
            if key in shaped
            else _perturb(value, self._experiment.search[key], factor=factor, rng=rng)
            for key, value in point.items()
        }


def _perturb(value: Any, one: Range, *, factor: float, rng: random.Random) -> Any:  # noqa: ANN401
    if one.choice is not None:
        return rng.choice(one.choice) if rng.random() < _DRAWN_ANEW else value
    low, high = one.log_uniform or one.uniform or (value, value)
    return min(high, max(low, value * rng.choice((factor, 1 / factor))))


def count_of_population(experiment: Experiment, *, root: Store) -> int:
    """Return how many configurations there will be, after a check of the first generation.

    Raises:
        ConfigError: A member is not valid.
    """
    source, rules = Population(experiment, root=root), PopulationRules.of(experiment)
    while source.next_configuration() is not None:
        pass
    return rules.members * rules.generations * len(experiment.models)


def lineage(point: Mapping[str, Any]) -> str:
    """Return the config_id that a member's weights come from, or nothing."""
    start = point.get(START) or {}
    uri = str(start.get("uri", "")) if isinstance(start, dict) else ""
    parts = uri.split("/")
    return parts[-2] if len(parts) > 1 and parts[-1] == "fold{fold}" else ""
