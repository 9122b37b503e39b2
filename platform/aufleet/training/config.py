"""What one trial is: a network, a fold, hyperparameters and the numbers of the machine it needs."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, field, fields
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from aufleet.domain.action_units import NAMES
from aufleet.domain.folds import NO_FOLD, NUM_FOLDS
from aufleet.errors import ConfigError

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

OPTIMIZERS = ("sgd", "adamw")
DEFAULTS_OF_LATER = {
    "augment": True,
    "initialize_from": None,
    "learning_rates": None,
    "schedule": "step",
    "warmup_epochs": 0.0,
    "accumulation": 1,
}
"""Settings that came after the first configurations had their names, and the values that leave a
name as it was."""
MACHINE = ("ranks", "threads", "zero_stage", "accumulation")
"""Settings that say on what a trial runs. They are a part of its name, since other parts of a sum
round differently and batch norms see other shares; but a trial may go on with others."""
BESIDE_THE_NUMBERS = ("keep_best", "stall_s")
"""Settings that change no number that is computed: no part of a name, and free in a resume."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class InitializeFrom:
    """Where the first weights of a trial come from, and which of them it takes.

    Attributes:
        uri: A checkpoint's folder, a finished trial's folder (its best epoch), a model package, or
            a .safetensors file; "experiments/..." and "models/..." lie below the root. "{fold}"
            stands for the trial's own fold.
        member: Which member of a package; empty takes that of the trial's fold, or the only one.
        into: The part of the network that the names of a file belong to: "stem".
        parts: Copy these parts only ("stem", "readout.local"), whole; empty copies what fits.
        fresh: Leave these parts as they are.
        units: Unit -> the source's unit to copy from, or None to leave it fresh; a unit that is
            not named is copied from the same unit, where the source has it.
        optimizer: Take over the state of its optimizer too, as a training that goes on does; for
            a trial's or a checkpoint's folder of which everything is copied.
    """

    uri: Annotated[str, Field(min_length=1)]
    member: str = ""
    into: str = ""
    parts: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    units: Mapping[int, int | None] = field(default_factory=dict)
    optimizer: bool = False


def _from_uri(given: object) -> object:
    return {"uri": given} if isinstance(given, str) else given


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TrialConfig:
    """One trial. The defaults are ALGRNet's settings (`specs/models.md` §5.6).

    Attributes:
        model: Name of the network in the catalog.
        task: "au" detects action units, "palsy" grades facial palsy.
        units: The units to detect; None takes the data set's. Must be None for "palsy".
        width: Factor on the network's channels; 1.0 is the paper's.
        options: Further keyword arguments of the network's builder.
        dataset: URI of the data set.
        fold: The part that is held out as test, 1 to 3; 0 trains on all subjects (a refit).
        epochs: Passes over the training part.
        batch: Frames per step over all ranks together.
        accumulation: Passes in which each rank works off its share of a step's frames: memory for
            time; batch norms then see a part of the share at a time.
        learning_rate: The highest of the trial: of the first epochs, after the warm-up.
        schedule: How it falls: "step" by `decay` after every `decay_epochs` epochs, "cosine" to 0
            at the end of the last epoch, or not at all ("constant").
        warmup_epochs: Epochs, or a part of one, in which it rises to `learning_rate` step by step.
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW).
        momentum: Nesterov momentum of SGD; first beta of AdamW.
        decay: Of the schedule "step": factor on the learning rate.
        decay_epochs: Of the schedule "step": epochs between two decays.
        optimizer: "sgd" with Nesterov momentum, or "adamw".
        precision: "fp32", or "bf16" by autocast: parameters and buffers stay fp32.
        zero_stage: DeepSpeed ZeRO stage: 1 shards optimizer states over the ranks, 2 gradients,
            3 parameters.
        gradient_clipping: Largest norm of the gradient; 0 turns clipping off.
        seed: Decides the first weights, the order of frames and their augmentation.
        ranks: Processes that train together.
        threads: CPU threads of each rank; other numbers give other rounding.
        shuffle_labels: Train on shuffled labels: the check that a score comes from the faces.
        augment: Crop and mirror the training frames at random; False takes the centre crop.
        initialize_from: Where the first weights come from; a URI alone copies whatever fits.
        learning_rates: Part of the network ("stem") -> factor on its learning rate; of nested
            parts the longer name counts, and what is not named has factor 1.
        keep_best: How many of the best epochs keep their checkpoints, beside the last epoch.
        stall_s: A rank without progress for so many seconds ends its process; 0 lets it hang.
    """

    model: str
    task: Literal["au", "palsy"] = "au"
    units: tuple[int, ...] | None = None
    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    dataset: str
    fold: Annotated[int, Field(ge=NO_FOLD, le=NUM_FOLDS)]
    epochs: Positive = 20
    batch: Positive = 16
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
    weight_decay: NotNegative = 5e-4
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    decay: Annotated[float, Field(gt=0, le=1)] = 0.5
    decay_epochs: Positive = 2
    optimizer: Literal["sgd", "adamw"] = "sgd"
    precision: Literal["fp32", "bf16"] = "fp32"
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 0
    gradient_clipping: NotNegative = 0.0
    seed: Annotated[int, Field(ge=0)] = 0
    ranks: Positive = 1
    threads: Positive = 1
    shuffle_labels: bool = False
    augment: bool = True
    initialize_from: Annotated[InitializeFrom | None, BeforeValidator(_from_uri)] = None
    learning_rates: Mapping[str, NotNegative] | None = None
    schedule: Literal["step", "cosine", "constant"] = "step"
    warmup_epochs: NotNegative = 0.0
    accumulation: Positive = 1
    keep_best: Positive = 1
    stall_s: NotNegative = 600.0

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            ConfigError: A unit is unknown, the task takes no units, a batch cannot be split, or the
                warm-up never ends.
        """
        if self.task == "palsy" and self.units is not None:
            raise ConfigError("a palsy trial has no units", "leave units out")
        if unknown := sorted(set(self.units or ()) - set(NAMES)):
            known = ", ".join(map(str, NAMES))
            raise ConfigError(f"units names {unknown[0]}", f"known units are {known}")
        if self.batch % (self.ranks * self.accumulation):
            raise ConfigError(
                f"a batch of {self.batch} frames cannot be split over {self.ranks} ranks"
                + (f" with accumulation {self.accumulation}" if self.accumulation > 1 else ""),
                "let batch be a multiple of ranks times accumulation",
            )
        if self.warmup_epochs >= self.epochs:
            raise ConfigError(
                f"warmup_epochs is {self.warmup_epochs:g} of {self.epochs} epochs",
                "let the warm-up end before the last epoch does",
            )

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the trial that a mapping of plain values describes, as it stands in a file.

        Keys that are no attribute here must be options of the network: `adaptive: false` is the
        same as `options: {adaptive: false}`. Numbers may be strings: YAML reads 1e-3 as one.

        Raises:
            ConfigError: An unknown key (the nearest known one is named), a missing or bad value.
        """
        known = {one.name for one in fields(cls)}
        named = {key: value for key, value in settings.items() if key in known}
        others = {key: value for key, value in settings.items() if key not in known}
        options = {**named.pop("options", {}), **others}
        accepted = option_names(str(named.get("model", "")))
        for key in options:
            if key not in accepted:
                raise _unknown(key, known | accepted)
        _check_options(named["model"], options)
        try:
            return TypeAdapter(cls).validate_python({**named, "options": options})
        except ValidationError as error:
            raise _first_problem(error) from None

    @cached_property
    def config_id(self) -> str:
        """Ten hex digits that name the configuration: everything but the fold."""
        return hashlib.sha256(self._canonical.encode()).hexdigest()[:10]

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values that `from_settings` turns into an equal trial."""
        plain = asdict(self)
        start = plain["initialize_from"]
        if start and not start["optimizer"]:
            del start["optimizer"]  # it came later: names stay as they were
        return plain

    @property
    def _canonical(self) -> str:
        everything = {
            key: value
            for key, value in self.settings.items()
            if key not in ("fold", *BESIDE_THE_NUMBERS)
            and not (key in DEFAULTS_OF_LATER and value == DEFAULTS_OF_LATER[key])
        }
        return json.dumps(everything, sort_keys=True, separators=(",", ":"))


def option_names(model: str) -> set[str]:
    """Return the names of the options that a network's builder takes beside task, units, width.

    Raises:
        ConfigError: The catalog has no such network.
    """
    from aufleet_models.catalog import CATALOG

    if model not in CATALOG:
        raise ConfigError(
            f"model {model!r} is not in the catalog", f"known are {', '.join(CATALOG)}"
        )
    return {one.name for one in fields(CATALOG[model].options)}


def _check_options(model: str, options: Mapping[str, Any]) -> None:
    from aufleet_models.catalog import CATALOG
    from aufleet_models.options import read_options

    try:
        read_options(CATALOG[model].options, options, model=model)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _unknown(key: str, known: set[str]) -> ConfigError:
    nearest = get_close_matches(key, known, n=1, cutoff=0.0)
    return ConfigError(f"unknown setting {key!r}", f"did you mean {nearest[0]!r}?")


def _first_problem(error: ValidationError) -> ConfigError:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"]) or "settings"
    if problem["type"] == "unexpected_keyword_argument":
        return _unknown(where, {f"initialize_from.{one.name}" for one in fields(InitializeFrom)})
    if problem["type"] == "missing":
        return ConfigError(f"setting {where!r} is missing")
    return ConfigError(f"setting {where!r} is {problem['input']!r}", problem["msg"])
