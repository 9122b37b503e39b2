"""What a start is called in an experiment file, and the trial's folder that it means.

Under `initialize_from`, `uri` may be what a trial understands, or the row of a table:
"rows/stem/fold{fold}" is a row above in the same file, "experiments/NAME/rows/{row}/fold2" one of
another experiment; "{row}" stands for the row itself, "{name}" for an input of the table.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aufleet.errors import AufleetError
from aufleet.storage import Store, open_store
from aufleet.tuning.ledger import Ledger, trial_id

_ROW = re.compile(r"^(?:(.*)/)?rows/([^/]+)/fold(\d|\{fold\})$")
_INPUT = re.compile(r"\{([a-z0-9_]+)\}")
_BELOW_ROOT = ("experiments/", "models/")


class LeftOutError(AufleetError):
    """A row cannot be run as things are; the others can."""


@dataclass(frozen=True, kw_only=True)
class NamedTrials:
    """A row of the same file that another row may start from."""

    model: str
    config_id: str


@dataclass(frozen=True, kw_only=True)
class Start:
    """A resolved start.

    Attributes:
        setting: The value of `initialize_from` for the trial.
        after: Fold of the trial -> name of the trial in the same experiment that must end first.
    """

    setting: dict[str, Any]
    after: Mapping[int, str]


@dataclass(frozen=True, kw_only=True)
class StartFinder:
    """Resolves starts.

    Attributes:
        experiment: Name of the experiment.
        root: The root store.
        folds: The folds of the experiment.
        inputs: Input of the table -> what it is.
        given: Input -> its value, of those that are given.
        rows: The rows above that run.
    """

    experiment: str
    root: Store
    folds: tuple[int, ...]
    inputs: Mapping[str, str]
    given: Mapping[str, str]
    rows: Mapping[str, NamedTrials]

    def find(self, setting: Any, *, row: str) -> Start:  # noqa: ANN401 - as it stands in the file
        """Return what a value of `initialize_from` means for a row.

        Raises:
            LeftOutError: An input is not given, or the row to start from is not there.
        """
        values = {"uri": setting} if isinstance(setting, str) else dict(setting)
        uri = self._fill(str(values.get("uri", "")), row=row)
        after: dict[int, str] = {}
        if match := _ROW.match(uri):
            place, name, fold = match.groups()
            if place is None:
                trials = self._own(name)
                uri = self._uri(self.experiment, trials, fold=fold)
                folds = {one: int(fold) if fold.isdigit() else one for one in self.folds}
                after = {
                    one: trial_id(trials.model, config_id=trials.config_id, fold=other)
                    for one, other in folds.items()
                }
            else:
                uri = self._of_other(place, name, fold=fold)
        elif uri.startswith(_BELOW_ROOT):
            uri = self.root.uri_of(uri)
        elif uri and "://" not in uri:
            uri = open_store(uri).uri  # trials run in another folder
        return Start(setting={**values, "uri": uri}, after=after)

    def _fill(self, uri: str, *, row: str) -> str:
        for name in _INPUT.findall(uri):
            if name in self.inputs and name not in self.given:
                raise LeftOutError(
                    f"it needs {name}, {self.inputs[name]}", f"give --set {name}=URI"
                )
        known = {"row": row, **self.given}
        return _INPUT.sub(lambda match: known.get(match[1], match[0]), uri)

    def _own(self, name: str) -> NamedTrials:
        if name not in self.rows:
            raise LeftOutError(f"it starts from {name}, which is left out or no row above it")
        return self.rows[name]

    def _uri(self, experiment: str, trials: NamedTrials, *, fold: str) -> str:
        key = f"trials/{trials.model}/{trials.config_id}/fold{fold}"
        return self.root.uri_of(f"experiments/{experiment}/{key}")

    def _of_other(self, place: str, name: str, *, fold: str) -> str:
        store = self.root.child(place) if place.startswith(_BELOW_ROOT) else open_store(place)
        for record in Ledger(store).configurations():
            if record.row == name:
                return store.uri_of(f"trials/{record.model}/{record.config_id}/fold{fold}")
        raise LeftOutError(
            f"there is no row {name} at {store.uri} to start from",
            "run that table first, or give --set initialize_from=null to start afresh",
        )
