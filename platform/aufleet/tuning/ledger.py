"""The ledger: what an experiment has decided and done, one object each, in the store.

    <experiment>/experiment.json                                       what is searched
                /ledger/configurations/<model>/<index>                 a point that was handed out
                /ledger/trials/<model>/<config>/fold<k>/<attempt>      an attempt that ended
                /ledger/rungs/<model>/<config>/fold<k>/<epoch>         a score that was compared
                /ledger/stops/<model>/<config>                         why it was given up
                /ledger/tests/<model>/<config>/fold<k>                 the one score of a test part
                /ledger/snapshots/<fence>.json                         all that counted at a start

It is the truth, not Tune's own state: the same command reads it and goes on. No object is written
twice, and one driver writes at a time: the fencing number of its lease ends every key. A driver
begins with a snapshot of all that counts; what an earlier driver writes after that, because it was
paused and does not know yet, stands in no snapshot, carries an old number and counts for nothing.
"""

import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import BaseModel

from aufleet.errors import AlreadyExistsError, ConfigError, ObjectMissingError
from aufleet.storage import Store
from aufleet.tuning.experiment import Experiment
from aufleet.tuning.lease import Lease
from aufleet.tuning.records import (
    ConfigurationRecord,
    RungRecord,
    StopRecord,
    TestRecord,
    TrialRecord,
    trial_id,
)

__all__ = [
    "ConfigurationRecord",
    "Ledger",
    "RungRecord",
    "StopRecord",
    "TestRecord",
    "TrialRecord",
    "trial_id",
]

Record = ConfigurationRecord | RungRecord | StopRecord | TestRecord | TrialRecord
RecordT = TypeVar("RecordT", bound=BaseModel)
_KINDS: dict[str, type[Record]] = {
    "configurations": ConfigurationRecord,
    "rungs": RungRecord,
    "stops": StopRecord,
    "tests": TestRecord,
    "trials": TrialRecord,
}
_SNAPSHOT = re.compile(r"^ledger/snapshots/(\d+)\.json$")
_KEY = re.compile(r"^ledger/(\w+)/(.+?)(?:\.f(\d+))?\.json$")
_READERS = 16


class Ledger:
    """The records of one experiment, read once; what is added is known at once."""

    def __init__(self, store: Store, *, lease: Lease | None = None) -> None:
        """Use the store of the experiment, <root>/experiments/<name>.

        Args:
            store: The store.
            lease: Allows to write where other drivers may be; its snapshot is written first.
        """
        self._store, self._lease = store, lease
        self._known: dict[str, Record] | None = None

    def open_experiment(self, experiment: Experiment) -> None:
        """Note what is searched, or check that it is what was searched before.

        Raises:
            ConfigError: An experiment of this name has other settings.
        """
        text = json.dumps(experiment.identity, indent=2, sort_keys=True)
        with suppress(AlreadyExistsError):
            self._store.write_new("experiment.json", text.encode())
        stored, wanted = json.loads(self._store.read("experiment.json")), json.loads(text)
        for key in sorted({*stored, *wanted}):
            if stored.get(key) != wanted.get(key):
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

    def seal(self) -> None:
        """Write the snapshot of this driver's lease: from here on only its own keys are added."""
        assert self._lease
        records = {key: one.model_dump(mode="json") for key, one in self._records.items()}
        text = json.dumps({"records": records}, separators=(",", ":"))
        self._store.write_new(f"ledger/snapshots/{self._lease.fence:06d}.json", text.encode())

    def configurations(self) -> list[ConfigurationRecord]:
        """Return every point that was handed out."""
        return self._all(ConfigurationRecord)

    def trials(self) -> list[TrialRecord]:
        """Return every attempt that ended, in the order of its attempts."""
        return self._all(TrialRecord)

    def tests(self) -> list[TestRecord]:
        """Return every score of a test part."""
        return self._all(TestRecord)

    def rungs(self) -> list[RungRecord]:
        """Return every score that configurations were compared by."""
        return self._all(RungRecord)

    def stops(self) -> list[StopRecord]:
        """Return every configuration that was given up."""
        return self._all(StopRecord)

    def add_configuration(self, record: ConfigurationRecord) -> None:
        """Add a point; one that is known already stays as it is."""
        with suppress(AlreadyExistsError):
            self._add(record)

    def add_rung(self, record: RungRecord) -> None:
        """Add a score; one that is known already stays as it is."""
        with suppress(AlreadyExistsError):
            self._add(record)

    def add_stop(self, record: StopRecord) -> None:
        """Add why a configuration was given up; the first reason stands."""
        with suppress(AlreadyExistsError):
            self._add(record)

    def add_trial(self, record: TrialRecord) -> None:
        """Add an attempt that ended.

        Raises:
            AlreadyExistsError: This attempt was written before.
        """
        self._add(record)

    def add_test(self, record: TestRecord) -> None:
        """Add the score of a test part.

        Raises:
            AlreadyExistsError: This fold of the configuration was scored before.
        """
        self._add(record)

    @property
    def _records(self) -> dict[str, Record]:
        if self._known is None:
            self._known = self._read_all()
        return self._known

    def _all(self, kind: type[RecordT]) -> list[RecordT]:
        chosen = {key: one for key, one in self._records.items() if isinstance(one, kind)}
        return [chosen[key] for key in sorted(chosen)]

    def _add(self, record: Record) -> None:
        if record.key in self._records:
            raise AlreadyExistsError(f"{self._store.uri_of(f'ledger/{record.key}')} is there")
        suffix = ""
        if self._lease:
            self._lease.check()
            suffix = f".f{self._lease.fence:06d}"
        key = f"ledger/{record.key}{suffix}.json"
        self._store.write_new(key, record.model_dump_json(indent=2).encode())
        self._records[record.key] = record

    def _read_all(self) -> dict[str, Record]:
        """Return what counts: the newest snapshot, and what its driver has added."""
        keys = self._store.keys("ledger/")
        snapshots = {int(found[1]): key for key in keys if (found := _SNAPSHOT.match(key))}
        fence = max(snapshots, default=0)
        records: dict[str, Record] = {}
        if snapshots:
            plain = json.loads(self._store.read(snapshots[fence]))["records"]
            for key, one in plain.items():
                records[key] = _KINDS[key.partition("/")[0]].model_validate(one)
        for key, record in self._read(key for key in keys if _fence_of(key) == fence):
            records[key] = record
        return records

    def _read(self, keys: Iterable[str]) -> list[tuple[str, Record]]:
        def read(key: str) -> tuple[str, Record]:
            found = _KEY.match(key)
            assert found
            record = _KINDS[found[1]].model_validate_json(self._store.read(key))
            return f"{found[1]}/{found[2]}", record

        with ThreadPoolExecutor(max_workers=_READERS) as readers:
            return list(readers.map(read, keys))


def _fence_of(key: str) -> int | None:
    """Return the fencing number of a record's key; None for other keys."""
    found = _KEY.match(key)
    return int(found[3] or 0) if found and found[1] in _KINDS else None
