"""When configurations are given up, and when a whole search ends: two parts of an experiment file.

early_stopping: {kind: asha, grace_epochs: 2, reduction: 3}
early_stopping: {kind: median, grace_epochs: 5}
early_stopping: {kind: pbt, population: 8, interval_epochs: 2}
budget: {trials: 300, hours: 12, gpu_hours: 200}
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_NEEDED = {
    "none": set(),
    "asha": {"grace_epochs", "reduction", "caution", "across_models"},
    "median": {"grace_epochs", "caution", "across_models"},
    "pbt": {"population", "interval_epochs", "quantile", "perturbation"},
}
"""Kind -> the other keys that mean something for it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EarlyStoppingSettings(_Strict):
    """When a configuration is given up: always whole, with all its folds."""

    kind: Literal["none", "asha", "median", "pbt"] = "none"
    """Never; where it is not among the best third at a rung; where it is below the median; or,
    population based training: the worst take over weights and settings of the best."""
    grace_epochs: Annotated[int, Field(ge=1)] | None = None
    """asha, median: epochs before the first comparison, and between those of median. Default 2."""
    reduction: Annotated[int, Field(ge=2)] | None = None
    """asha: one of so many goes on at a rung; the next rung is so many times later. Default 3."""
    caution: Annotated[float, Field(ge=0)] | None = None
    """asha, median: standard errors that a lead on some of the folds must exceed. Default 1."""
    across_models: bool | None = None
    """asha, median: compare all models with each other, not each within its family."""
    population: Annotated[int, Field(ge=2)] | None = None
    """pbt: members of each family; default: the sampler's configurations."""
    interval_epochs: Annotated[int, Field(ge=1)] | None = None
    """pbt: epochs between two comparisons. Default 2."""
    quantile: Annotated[float, Field(gt=0, le=0.5)] | None = None
    """pbt: the share that is replaced, by as many of the best. Default 0.25."""
    perturbation: Annotated[float, Field(gt=1)] | None = None
    """pbt: the factor by which a number that is taken over goes up or down. Default 1.2."""

    @model_validator(mode="after")
    def _check(self) -> "EarlyStoppingSettings":
        given = {key for key in self.model_fields_set if getattr(self, key) is not None} - {"kind"}
        if idle := sorted(given - _NEEDED[self.kind]):
            raise ValueError(f"{idle[0]} means nothing for kind {self.kind}")
        return self


class Budget(_Strict):
    """What a search may use, over all the commands that continue it; nothing given is no limit."""

    trials: Annotated[int, Field(ge=1)] | None = None
    """Trials that are begun."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """Hours in which a driver runs."""
    gpu_hours: Annotated[float, Field(gt=0)] | None = None
    """Hours that trials hold GPUs, times their number."""
