"""The experiment file: what is searched, on which data, with which machines.

    name: bp4d-search
    task: au                      # or palsy
    dataset: s3://bucket/prefix/datasets/bp4d/1
    models: [algrnet, mgrrnet]
    folds: [1, 2, 3]
    fixed: {epochs: 20, batch: 16}
    search: {learning_rate: {log_uniform: [0.001, 0.1]}, adaptive: {choice: [true, false]}}
    sampler: {kind: random, configurations: 32, seed: 0}
    early_stopping: {kind: asha, grace_epochs: 2, reduction: 3}
    resources: {ranks: 1, cpus_per_rank: 2, gpus_per_rank: 1}
    per_model: {mgrrnet: {ranks: 2}}
    budget: {gpu_hours: 200}

A key under `fixed`, `per_model` or `search` is a field of `TrialConfig`, or an architecture option
of at least one of the models; a model that has no such option goes without it. In the place of
`search` and `sampler` there may be `rows`, a table of named configurations: see `rows`; where a
trial can start from another: see `starts`; when configurations are given up: see `limits`.
"""

from collections.abc import Collection, Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aufleet.domain.folds import NUM_FOLDS
from aufleet.errors import ConfigError
from aufleet.training.config import TrialConfig, option_names
from aufleet.tuning.changes import change
from aufleet.tuning.limits import Budget, EarlyStoppingSettings
from aufleet.tuning.rows import EXPLAINING, RowName, TableRow

OWN_SETTINGS = ("model", "task", "dataset", "fold", "options", "shuffle_labels")
"""Fields of a trial that the experiment decides by keys of its own."""

Bounds = tuple[float, float]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Strict):
    """The values that one hyperparameter may take: exactly one of these keys."""

    log_uniform: Bounds | None = None
    """Any number between two positive ones, each order of magnitude equally likely."""
    uniform: Bounds | None = None
    """Any number between two."""
    choice: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    """One of these; the only one that a grid can walk through."""

    @model_validator(mode="after")
    def _check(self) -> "Range":
        given = self.model_fields_set
        if len(given) != 1:
            raise ValueError("give exactly one of log_uniform, uniform and choice")
        bounds = self.log_uniform or self.uniform
        if bounds and not bounds[0] < bounds[1]:
            raise ValueError("the first bound must be below the second")
        if self.log_uniform and self.log_uniform[0] <= 0:
            raise ValueError("the bounds of log_uniform must be positive")
        return self


class SamplerSettings(_Strict):
    """How configurations are drawn from the ranges, for each model on its own."""

    kind: Literal["grid", "random", "optuna"] = "grid"
    """Every combination of the choices; independent draws; or Optuna's TPE."""
    configurations: Annotated[int, Field(ge=1)] | None = None
    """How many to draw for each model; a grid has as many as it has."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Decides the draws."""

    @model_validator(mode="after")
    def _check(self) -> "SamplerSettings":
        if (self.kind == "grid") == (self.configurations is not None):
            raise ValueError("`configurations` is for random and optuna, which need it")
        return self


class Resources(_Strict):
    """What one trial occupies."""

    ranks: Annotated[int, Field(ge=1)] = 1
    """Processes that train one trial together."""
    cpus_per_rank: Annotated[int, Field(ge=1)] = 1
    """CPUs, and threads, of each."""
    gpus_per_rank: Annotated[float, Field(ge=0)] = 0
    """GPUs of each."""

    @model_validator(mode="after")
    def _check(self) -> "Resources":
        if self.gpus_per_rank % 1 and (self.ranks > 1 or self.gpus_per_rank > 1):
            raise ValueError("a fraction of a GPU is for one rank only")
        return self


class Experiment(_Strict):
    """A whole search."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    """Names the results, and the model that is promoted from them."""
    task: Literal["au", "palsy"]
    """Action units, or grades of facial palsy."""
    dataset: str
    """URI of the data set, or "name/version" of one below the root."""
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of the catalog."""
    folds: Annotated[tuple[int, ...], Field(min_length=1)] = tuple(range(1, NUM_FOLDS + 1))
    """Every configuration is trained on each of these."""
    fixed: dict[str, Any] = {}
    """Settings of every trial."""
    per_model: dict[str, dict[str, Any]] = {}
    """Model -> settings of its trials, in the place of those under `fixed`."""
    search: dict[str, Range] = {}
    """Settings that differ between configurations."""
    rows: dict[RowName, TableRow] = {}
    """Named configurations, in the place of a search; all are scored on the test parts."""
    paper: str = ""
    """Where the table stands."""
    inputs: dict[str, str] = {}
    """Name -> what a person has to bring; a row that needs it is left out without it."""
    given: dict[str, str] = {}
    """Input -> its URI."""
    sampler: SamplerSettings = SamplerSettings()
    early_stopping: EarlyStoppingSettings = EarlyStoppingSettings()
    resources: Resources = Resources()
    budget: Budget = Budget()
    """What the search may use; a larger one continues it."""
    shuffle_labels: bool = False
    """Train on shuffled labels: the check that scores come from the faces."""
    control: bool = False
    """At the end, train each model's winner once more on shuffled labels, on its first fold."""

    @model_validator(mode="after")
    def _check(self) -> "Experiment":
        for name, values in (("models", self.models), ("folds", self.folds)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} holds a value twice")
        if unknown := set(self.folds) - set(range(1, NUM_FOLDS + 1)):
            raise ValueError(f"there is no fold {min(unknown)}; folds are 1 to {NUM_FOLDS}")
        if twice := sorted(set(self.fixed) & set(self.search)):
            raise ValueError(f"{twice[0]} stands under fixed and under search")
        self._check_rows()
        self._check_population()
        if unknown := sorted(set(self.per_model) - set(self.models)):
            raise ValueError(f"per_model.{unknown[0]} is not among the models")
        for key, one in self.search.items():
            if self.sampler.kind == "grid" and one.choice is None:
                raise ValueError(f"a grid needs a choice for {key}; use the random sampler")
        return self

    def _check_population(self) -> None:
        if self.early_stopping.kind != "pbt":
            return
        if self.rows or not self.search:
            raise ValueError("early_stopping.kind pbt needs something to search")
        if self.sampler.kind != "random":
            raise ValueError("pbt draws its first members at random: write sampler.kind random")
        if "epochs" in self.search:
            raise ValueError("pbt trains every member equally long: epochs cannot be searched")

    def _check_rows(self) -> None:
        if self.rows and (self.search or self.sampler != SamplerSettings()):
            raise ValueError("rows are the configurations: leave search and sampler out")
        if self.rows and self.early_stopping.kind != "none":
            raise ValueError("every row is trained whole: leave early_stopping out")
        if unknown := sorted(set(self.given) - set(self.inputs)):
            raise ValueError(f"given names {unknown[0]}, which is not among the inputs")
        for name, row in self.rows.items():
            if row.model is None and len(self.models) > 1:
                raise ValueError(f"rows.{name} must say its model: there are several")
            if row.model is not None and row.model not in self.models:
                raise ValueError(f"rows.{name}.model {row.model!r} is not among the models")

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change when an experiment is continued; more configurations may."""
        free = {"sampler": {"configurations"}, "paper": True, "budget": True, "control": True}
        plain = self.model_dump(mode="json", exclude=free)
        # An input may be given later: rows that had waited for it are added.
        del plain["inputs"], plain["given"]
        for key in ("per_model", "early_stopping"):
            plain[key] = {name: one for name, one in plain[key].items() if one is not None}
        if not plain["per_model"]:
            del plain["per_model"]
        rows = plain.pop("rows")
        for row in rows.values():
            for key in EXPLAINING:
                del row[key]
        return plain | ({"rows": rows} if rows else {})


def read_experiment(path: Path, *, changes: Mapping[str, Any] | None = None) -> Experiment:
    """Return the experiment that a file describes.

    Args:
        path: The file.
        changes: Key -> value in the place of what stands in the file; see `changes`.

    Raises:
        ConfigError: The file is missing or no YAML, or a key or value is wrong; names the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "name an experiment file") from None
    return parse_experiment(text, source=str(path), changes=changes)


def parse_experiment(
    text: str, *, source: str, changes: Mapping[str, Any] | None = None
) -> Experiment:
    """Return the experiment of a YAML text; `source` stands at the start of each error.

    Raises:
        ConfigError: A key or a value is wrong; the nearest known key is named.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{source} holds no settings", "see `aufleet tune --help`")
    content = change(content, changes or {}, own_keys=Experiment.model_fields)
    try:
        experiment = Experiment.model_validate(content)
    except ValidationError as error:
        raise _first_problem(error, content=content, source=source) from None
    _check_settings(experiment, source=source)
    return experiment


def _first_problem(error: ValidationError, *, content: Any, source: str) -> ConfigError:  # noqa: ANN401
    """Return the problem to mend first: a misspelt key also makes the right one missing."""
    problems = error.errors()
    problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        model = TableRow if problem["loc"][0] == "rows" else _model_at(problem["loc"][:-1])
        return _unknown_key(where, str(problem["loc"][-1]), known=model.model_fields, source=source)
    message = problem["msg"].removeprefix("Value error, ")
    return ConfigError(f"{source}: {where}" if where else source, message)


def _model_at(location: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the model whose keys stand at a place of the file."""
    inner: dict[str, type[BaseModel]] = {
        "search": Range,
        "sampler": SamplerSettings,
        "early_stopping": EarlyStoppingSettings,
        "resources": Resources,
        "budget": Budget,
    }
    return inner[str(location[0])] if location else Experiment


def _check_settings(experiment: Experiment, *, source: str) -> None:
    """Refuse keys under fixed and search that no trial of the experiment understands."""
    known = {one.name for one in fields(TrialConfig)} - set(OWN_SETTINGS)
    try:
        for model in experiment.models:
            known |= option_names(model)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error.what}", error.remedy) from None
    parts: dict[str, Collection[str]] = {"fixed": experiment.fixed, "search": experiment.search}
    parts |= {f"per_model.{name}": one for name, one in experiment.per_model.items()}
    parts |= {f"rows.{name}.settings": row.settings for name, row in experiment.rows.items()}
    for part, settings in parts.items():
        for key in settings:
            if key in OWN_SETTINGS:
                raise ConfigError(
                    f"{source}: {part}.{key} is set for the whole experiment",
                    "write it at the top of the file, or leave it out",
                )
            if key not in known:
                raise _unknown_key(f"{part}.{key}", key, known=known, source=source)


def _unknown_key(where: str, key: str, *, known: Collection[str], source: str) -> ConfigError:
    nearest = get_close_matches(key, known, n=1, cutoff=0.0)
    remedy = f"did you mean {nearest[0]!r}?" if nearest else ""
    return ConfigError(f"{source}: unknown key {where!r}", remedy)
