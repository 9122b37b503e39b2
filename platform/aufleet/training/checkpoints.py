"""A trial's checkpoints in its store: whole or absent, the best ones and the last.

    <trial>/attempt-001/attempt.json                       claimed by one run of the trial
                       /checkpoint-0003/model.safetensors
                                       /optimizer.safetensors
                                       /validation.safetensors
                                       /checkpoint.json    written last: names and sha256 of these

A checkpoint without its `checkpoint.json` does not exist. Each run of a trial writes below an
attempt number of its own, so two runs of one trial never write the same object. DeepSpeed's own
shards are not kept: weights and optimizer state by name are exact at every ZeRO stage (a test
compares the bits), they load on any number of ranks, and they hold no pickle.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter
from safetensors.torch import load, save
from torch import Tensor

from aufleet.errors import AlreadyExistsError, ConfigError, ObjectCorruptError, TrainingError
from aufleet.storage import Store, sha256_of
from aufleet.training.config import (
    BESIDE_THE_NUMBERS,
    DEFAULTS_OF_LATER,
    MACHINE,
    TrialConfig,
)
from aufleet.training.results import EpochReport, best_reports

SCHEMA_VERSION = 1
INDEX = "checkpoint.json"
MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
VALIDATION = "validation.safetensors"
_CHECKPOINT = re.compile(r"^(attempt-(\d+)/checkpoint-(\d+))/" + re.escape(INDEX) + "$")
_ATTEMPT = re.compile(r"^attempt-(\d+)/")
_REPORTS = TypeAdapter(EpochReport)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A whole checkpoint in the store, without its tensors.

    Attributes:
        key: Its folder, relative to the trial's store.
        epoch: The last epoch that it has seen.
        constant: F1 per label of the best constant answer on the validation frames.
        reports: Of all epochs up to this one.
        digests: sha256 of each file.
        settings: Those of its trial.
        network: Keyword arguments for `build_model` that build its network again.
        initialized: Where its first weights came from and which; None where they were drawn.
    """

    key: str
    epoch: int
    constant: Mapping[str, float]
    reports: tuple[EpochReport, ...]
    digests: Mapping[str, str]
    settings: Mapping[str, Any]
    network: Mapping[str, Any]
    initialized: Mapping[str, Any] | None


@dataclass(kw_only=True)
class Checkpoints:
    """The checkpoints of one run of a trial; used by rank 0 alone.

    Attributes:
        store: The trial's store.
        config: The trial.
        network: As in `Checkpoint`; set before the first write.
        initialized: The same.
    """

    store: Store
    config: TrialConfig
    network: Mapping[str, Any] = field(default_factory=dict)
    initialized: Mapping[str, Any] | None = None
    _attempt: str = ""
    _keys: dict[int, str] = field(default_factory=dict)

    def newest(self) -> Checkpoint | None:
        """Return the whole checkpoint with the highest epoch, or None.

        Raises:
            ConfigError: The store holds another configuration's checkpoints.
            ObjectCorruptError: Its index is damaged.
        """
        whole = _whole(self.store.keys())
        self._keys = {epoch: key for (epoch, _), key in sorted(whole.items())}
        return self._read(self._keys[max(self._keys)]) if self._keys else None

    def write(
        self,
        *,
        files: Mapping[str, Mapping[str, Tensor]],
        constant: Mapping[str, float],
        reports: tuple[EpochReport, ...],
    ) -> str:
        """Write the checkpoint of the last report's epoch, drop the outdated; return its key.

        Args:
            files: Name -> tensors of each file.
            constant: F1 per label of the best constant answer.
            reports: Of all epochs so far.
        """
        epoch = reports[-1].epoch
        self._attempt = self._attempt or self._claim()
        key = f"{self._attempt}/checkpoint-{epoch:04d}"
        digests = {}
        for name, tensors in files.items():
            data = save(dict(tensors))
            digests[name] = {"sha256": sha256_of(data), "size_bytes": len(data)}
            self.store.write(f"{key}/{name}", data)
        index = {
            "schema_version": SCHEMA_VERSION,
            "epoch": epoch,
            "config_id": self.config.config_id,
            "settings": self.config.settings,
            "network": dict(self.network),
            "initialized": self.initialized,
            "files": digests,
            "constant": dict(constant),
            "reports": [asdict(report) for report in reports],
        }
        self.store.write(f"{key}/{INDEX}", json.dumps(index, indent=1).encode())
        self._keys[epoch] = key
        best = best_reports(reports, number=self.config.keep_best)
        self._keep(epoch, *(report.epoch for report in best))
        return key

    def key_of(self, epoch: int) -> str:
        """Return the key of an epoch's checkpoint that this run read or wrote."""
        return self._keys[epoch]

    def _keep(self, *epochs: int) -> None:
        for epoch in sorted(set(self._keys) - set(epochs)):
            key = self._keys.pop(epoch)
            # The index first: what is left of a checkpoint whose removal breaks off is not whole.
            for name in (INDEX, MODEL, OPTIMIZER, VALIDATION):
                self.store.delete(f"{key}/{name}")

    def _claim(self) -> str:
        """Take the next attempt number; of two runs that want the same, one takes the next."""
        taken = filter(None, map(_ATTEMPT.match, self.store.keys()))
        number = max((int(match[1]) for match in taken), default=0) + 1
        while True:
            name = f"attempt-{number:03d}"
            try:
                self.store.write_new(f"{name}/attempt.json", b"{}\n")
                return name
            except AlreadyExistsError:
                number += 1

    def _read(self, key: str) -> Checkpoint:
        checkpoint = read_checkpoint(self.store, key)
        mine = json.loads(json.dumps(self.config.settings))
        differing = sorted(
            name
            for name in mine
            if name not in (*BESIDE_THE_NUMBERS, *MACHINE)
            and mine[name] != checkpoint.settings.get(name, DEFAULTS_OF_LATER.get(name))
        )
        if differing:
            raise ConfigError(
                f"{self.store.uri_of(key)} was trained with another {', '.join(differing)}",
                "use another store for this trial",
            )
        return checkpoint


def read_checkpoint(store: Store, key: str) -> Checkpoint:
    """Return the checkpoint in a folder of a trial's store.

    Raises:
        ObjectMissingError: There is no whole checkpoint.
        ObjectCorruptError: Its index is damaged.
    """
    return _parse_index(store, key)


def read_best_checkpoint(store: Store) -> Checkpoint | None:
    """Return the best checkpoint of a finished trial's store; None where it holds none.

    Raises:
        ConfigError: The trial has epochs left.
        ObjectCorruptError: An index is damaged.
    """
    whole = _whole(store.keys())
    if not whole:
        return None
    newest = read_checkpoint(store, whole[max(whole)])
    if newest.epoch < newest.settings["epochs"]:
        raise ConfigError(
            f"the trial at {store.uri} has {newest.epoch} of {newest.settings['epochs']} epochs",
            "finish it first, or name one of its checkpoints' folders",
        )
    best = best_reports(newest.reports)[0].epoch
    return read_checkpoint(store, max(item for item in whole.items() if item[0][0] == best)[1])


def read_tensors(store: Store, checkpoint: Checkpoint, name: str) -> dict[str, Tensor]:
    """Return the tensors of one file of a checkpoint.

    Raises:
        ObjectMissingError: The file is gone.
        ObjectCorruptError: Its bytes are not those that were written.
    """
    if name not in checkpoint.digests:
        raise TrainingError(f"{store.uri_of(checkpoint.key)} holds no {name}")
    return load(store.read_verified(f"{checkpoint.key}/{name}", sha256=checkpoint.digests[name]))


def _parse_index(store: Store, key: str) -> Checkpoint:
    uri = store.uri_of(f"{key}/{INDEX}")
    data = store.read(f"{key}/{INDEX}")
    try:
        index = json.loads(data)
        return Checkpoint(
            key=key,
            epoch=index["epoch"],
            constant=index["constant"],
            reports=tuple(map(_REPORTS.validate_python, index["reports"])),
            digests={name: file["sha256"] for name, file in index["files"].items()},
            settings=index["settings"],
            network=index.get("network", {}),
            initialized=index.get("initialized"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ObjectCorruptError(
            f"{uri} is no index of a checkpoint ({error})", "delete that checkpoint's folder"
        ) from error


def _whole(keys: Iterable[str]) -> dict[tuple[int, int], str]:
    """Return (epoch, attempt) -> folder of the whole checkpoints."""
    found = filter(None, map(_CHECKPOINT.match, keys))
    return {(int(match[3]), int(match[2])): match[1] for match in found}
