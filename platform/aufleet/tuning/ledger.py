"""The ledger: what an experiment has decided and done, one object each, in the store.

    <experiment>/experiment.json                                    what is searched
                /ledger/configurations/<model>/<index>.json         a point that was handed out
                /ledger/trials/<model>/<config>/fold<k>/<attempt>.json   an attempt that ended
                /ledger/tests/<model>/<config>/fold<k>.json         the one score of a test part

It is the truth, not Tune's own state: the same command reads it and goes on. Only the driver
writes, and no object is written twice.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from aufleet.errors import AlreadyExistsError, ConfigError, ObjectMissingError
from aufleet.storage import Store
from aufleet.tuning.experiment import Experiment

RecordT = TypeVar("RecordT", bound=BaseModel)


def trial_id(model: str, *, config_id: str, fold: int) -> str:
    """Return the name of a trial: its folder below trials/, and its key in the ledger."""
    return f"{model}/{config_id}/fold{fold}"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConfigurationRecord(_Record):
    """A point that a sampler proposed for a model."""

    model: str
    index: int
    point: dict[str, Any]
    config_id: str
    row: str = ""
    """The row of the table that it is; empty in a search."""


class TrialRecord(_Record):
    """One attempt at one trial, after its end."""

    model: str
    config_id: str
    fold: int
    attempt: int
    status: Literal["finished", "crashed", "failed"]
    """Done; to be tried again; never to be tried again."""
    reason: str = ""
    """Why it crashed or failed, in one sentence."""
    point: dict[str, Any]
    """The searched settings."""
    settings: dict[str, Any]
    """All settings of the trial."""
    row: str = ""
    """The row of the table that it belongs to; empty in a search."""
    initialized: dict[str, Any] | None = None
    """Where the first weights came from, and which were copied."""
    score: float | None = None
    """Macro F1 on the validation subjects at the best epoch."""
    loss: float | None = None
    best_epoch: int | None = None
    per_label: dict[str, float] = {}
    constant: dict[str, float] = {}
    """F1 of the best constant answer, per label."""
    checkpoint: str = ""
    """Key of the best checkpoint's folder in the trial's store."""
    seconds: float = 0.0
    ended: datetime

    @property
    def trial_id(self) -> str:
        """The trial's name: its folder below trials/."""
        return trial_id(self.model, config_id=self.config_id, fold=self.fold)


class TestRecord(_Record):
    """How a fold's best checkpoint does on the test part, which is scored once."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    model: str
    config_id: str
    fold: int
    score: float
    per_label: dict[str, float]
    constant: dict[str, float]
    num_frames: int


class Ledger:
    """The records of one experiment."""

    def __init__(self, store: Store) -> None:
        """Use the store of the experiment, <root>/experiments/<name>."""
        self._store = store

    def open_experiment(self, experiment: Experiment) -> None:
        """Note what is searched, or check that it is what was searched before.

        Raises:
            ConfigError: An experiment of this name has other settings.
        """
        text = json.dumps(experiment.identity, indent=2, sort_keys=True)
        with suppress(AlreadyExistsError):
            self._store.write_new("experiment.json", text.encode())
        stored = json.loads(self._store.read("experiment.json"))
        for key, value in json.loads(text).items():
            if stored.get(key) != value:
                raise ConfigError(
                    f"experiment {experiment.name!r} was started with another value of {key!r}",
                    f"choose another name, or delete {self._store.uri}",
                )

    def describe_experiment(self) -> dict[str, Any]:
        """Return what is searched.

        Raises:
            ConfigError: There is no such experiment.
        """
        try:
            return json.loads(self._store.read("experiment.json"))
        except ObjectMissingError:
            raise ConfigError(
                f"there is no experiment at {self._store.uri}", "start it with `aufleet tune`"
            ) from None

    def configurations(self) -> list[ConfigurationRecord]:
        """Return every point that was handed out."""
        return list(self._read_all("configurations", ConfigurationRecord))

    def trials(self) -> list[TrialRecord]:
        """Return every attempt that ended, in the order of its attempts."""
        return list(self._read_all("trials", TrialRecord))

    def tests(self) -> list[TestRecord]:
        """Return every score of a test part."""
        return list(self._read_all("tests", TestRecord))

    def add_configuration(self, record: ConfigurationRecord) -> None:
        """Add a point; one that is known already stays as it is."""
        with suppress(AlreadyExistsError):
            self._write(f"configurations/{record.model}/{record.index:06d}.json", record)

    def add_trial(self, record: TrialRecord) -> None:
        """Add an attempt that ended.

        Raises:
            AlreadyExistsError: Another driver wrote this attempt.
        """
        self._write(f"trials/{record.trial_id}/{record.attempt:03d}.json", record)

    def add_test(self, record: TestRecord) -> None:
        """Add the score of a test part.

        Raises:
            AlreadyExistsError: This fold of the configuration was scored before.
        """
        name = trial_id(record.model, config_id=record.config_id, fold=record.fold)
        self._write(f"tests/{name}.json", record)

    def _write(self, key: str, record: BaseModel) -> None:
        self._store.write_new(f"ledger/{key}", record.model_dump_json(indent=2).encode())

    def _read_all(self, kind: str, record: type[RecordT]) -> Iterator[RecordT]:
        for key in self._store.keys(f"ledger/{kind}/"):
            yield record.model_validate_json(self._store.read(key))
