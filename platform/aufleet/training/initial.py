"""A trial's first weights, where they come from an earlier model.

Only safetensors files are read, never a pickle. What was copied is written into the trial's
checkpoints, so that a resumed trial needs the source no more. A model that was trained on the
fold's test subjects is refused where its origin says so: then a test part would be known already.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from aufleet.data.dataset import open_dataset
from aufleet.domain.folds import NO_FOLD
from aufleet.errors import AufleetError, ConfigError
from aufleet.registry.card import Card
from aufleet.registry.package import CARD_KEY, WEIGHTS_KEY, read_package
from aufleet.storage import Store, open_store, root_uri, sha256_of
from aufleet.training.checkpoints import (
    INDEX,
    MODEL,
    OPTIMIZER,
    Checkpoint,
    read_best_checkpoint,
    read_checkpoint,
    read_tensors,
)
from aufleet.training.config import InitializeFrom, TrialConfig
from aufleet_models import build_model
from aufleet_models.contract import FaceModel
from aufleet_models.transfer import Selection, transfer_weights

_log = logging.getLogger(__name__)

BELOW_ROOT = ("experiments/", "models/")
SUFFIX = ".safetensors"
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".tar")
CONVERSION = (
    'python -c "import sys, torch; from safetensors.torch import save_file; '
    "state = torch.load(sys.argv[1], weights_only=True, map_location='cpu'); "
    "save_file({k: v.contiguous() for k, v in state.get('state_dict', state).items()}, "
    'sys.argv[2])" IN.pth OUT.safetensors'
)
"""The line that turns a PyTorch file of plain tensors into one that is read here."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Training and validation subjects that shaped a model."""

    dataset: str
    """URI of the data set."""
    fold: int
    """0 for all of its subjects."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model to start from.

    Attributes:
        uri: The file that holds the weights.
        sha256: Of that file.
        weights: Name -> tensor.
        network: Its network on the meta device; None where the file does not say.
        seen: What it was trained on, and what it was itself started from; empty where unknown.
    """

    uri: str
    sha256: str
    weights: Mapping[str, Tensor]
    network: FaceModel | None
    seen: tuple[Seen, ...]


def initialize(network: FaceModel, config: TrialConfig, start: InitializeFrom) -> dict[str, Any]:
    """Copy the first weights into a network; return what was copied, as plain values.

    Raises:
        ConfigError: There is no such source, it does not fit, or it knows the fold's test subjects.
        ObjectCorruptError: Its bytes are not those that were written.
    """
    source = read_source(start, fold=config.fold)
    _refuse_leak(source, config)
    selection = Selection(
        into=start.into, parts=start.parts, fresh=start.fresh, units=dict(start.units)
    )
    try:
        done = transfer_weights(network, source.weights, source=source.network, selection=selection)
    except ValueError as error:
        raise ConfigError(
            f"{config.model} cannot start from {source.uri}: {error}",
            "name other parts under initialize_from, or another source",
        ) from None
    record = {"uri": source.uri, "sha256": source.sha256, **asdict(done)}
    _log.info("%s", describe(record))
    return {**record, "seen": [asdict(one) for one in source.seen]}


def read_optimizer(start: InitializeFrom, *, fold: int) -> dict[str, Tensor]:
    """Return the state of the optimizer that goes with the first weights; empty where unwanted.

    Raises:
        ConfigError: The source has none, or not all of its weights are copied.
        ObjectCorruptError: Its bytes are not those that were written.
    """
    if not start.optimizer:
        return {}
    remedy = "leave initialize_from.optimizer out"
    if start.into or start.parts or start.fresh or start.units:
        raise ConfigError("an optimizer's state belongs to all weights of a model", remedy)
    store = open_store(_uri_of(start, fold=fold))
    if store.exists(INDEX):
        parent, _, key = store.uri.rpartition("/")
        store = open_store(parent)
        return read_tensors(store, read_checkpoint(store, key), OPTIMIZER)
    checkpoint = None if store.exists(CARD_KEY) else read_best_checkpoint(store)
    if checkpoint is None:
        raise ConfigError(f"there is no optimizer's state at {store.uri}", remedy)
    return read_tensors(store, checkpoint, OPTIMIZER)


def describe(record: Mapping[str, Any]) -> str:
    """Return one line that says where first weights came from and which were copied."""
    told = [f"copied {', '.join(record['copied'])}"] if record["copied"] else []
    if record["partly"]:
        units = ", ".join(
            f"{unit}" if str(unit) == str(other) else f"{unit} from {other}"
            for unit, other in record["units"].items()
        )
        told.append(f"units {units} of {', '.join(record['partly'])}")
    told.append(f"fresh {', '.join(record['fresh']) or 'nothing'}")
    if record["unused"]:
        told.append(f"not used {', '.join(record['unused'])}")
    return f"started from {record['uri']} ({record['sha256'][:12]}): {'; '.join(told)}"


def read_source(start: InitializeFrom, *, fold: int) -> Source:
    """Return the model to start from.

    Args:
        start: Where it lies.
        fold: The trial's fold.

    Raises:
        ConfigError: Nothing of the kind is there.
        ObjectCorruptError: Its bytes are not those that were written.
    """
    uri = _uri_of(start, fold=fold)
    if uri.lower().endswith(_PICKLES):
        raise ConfigError(f"{uri} may hold a pickle, which is never read", f"run {CONVERSION}")
    if not uri.endswith(SUFFIX):
        return _read_folder(open_store(uri), start=start, fold=fold)
    folder, _, name = uri.rpartition("/")
    store = open_store(folder or ("/" if uri.startswith("/") else "."))
    # The file of a checkpoint or package is known by what lies beside it.
    if name in (MODEL, WEIGHTS_KEY) and (store.exists(INDEX) or store.exists(CARD_KEY)):
        return _read_folder(store, start=start, fold=fold)
    return _read_file(store, name)


def _uri_of(start: InitializeFrom, *, fold: int) -> str:
    uri = start.uri.replace("{fold}", str(fold)).rstrip("/")
    return f"{root_uri()}/{uri}" if uri.startswith(BELOW_ROOT) else uri


def _read_file(store: Store, name: str) -> Source:
    uri = store.uri_of(name)
    if not store.exists(name):
        raise ConfigError(f"there is no file {uri} to start from", "correct initialize_from.uri")
    data = store.read(name)
    try:
        weights = load(data)
    except SafetensorError as error:
        raise ConfigError(
            f"{uri} is not a safetensors file ({error})", f"run {CONVERSION}"
        ) from None
    return Source(uri=uri, sha256=sha256_of(data), weights=weights, network=None, seen=())


def _read_folder(store: Store, *, start: InitializeFrom, fold: int) -> Source:
    if store.exists(CARD_KEY):
        return _read_package(store.uri, member=start.member, fold=fold)
    found = checkpoint_in(store)
    if found is None:
        raise ConfigError(
            f"there is no model at {store.uri} to start from",
            f"name a trial's or a checkpoint's folder, a package or a {SUFFIX} file",
        )
    return _of_checkpoint(*found)


def checkpoint_in(folder: Store) -> tuple[Store, Checkpoint] | None:
    """Return the checkpoint whose folder this is, or the best one of the trial whose it is.

    Beside it stands the trial's store; None where nothing of the kind is there.

    Raises:
        ConfigError: The trial has epochs left.
        ObjectCorruptError: An index is damaged.
    """
    if folder.exists(INDEX):
        parent, _, key = folder.uri.rpartition("/")
        trial = open_store(parent)
        return trial, read_checkpoint(trial, key)
    best = read_best_checkpoint(folder)
    return (folder, best) if best else None


def _of_checkpoint(store: Store, checkpoint: Checkpoint) -> Source:
    return Source(
        uri=store.uri_of(f"{checkpoint.key}/{MODEL}"),
        sha256=checkpoint.digests[MODEL],
        weights=read_tensors(store, checkpoint, MODEL),
        network=_on_meta(checkpoint.network),
        seen=seen_by(checkpoint),
    )


def seen_by(checkpoint: Checkpoint) -> tuple[Seen, ...]:
    """Return what a checkpoint was trained on, and what it was itself started from."""
    own = Seen(dataset=checkpoint.settings["dataset"], fold=checkpoint.settings["fold"])
    before = (checkpoint.initialized or {}).get("seen", ())
    return (own, *(Seen(**one) for one in before))


def _read_package(uri: str, *, member: str, fold: int) -> Source:
    card, data = read_package(uri)
    own = f"fold{fold}"
    name = member or (card.members[0] if len(card.members) == 1 else own)
    if name not in card.members:
        raise ConfigError(
            f"package {uri} has no member {name}",
            f"let initialize_from.member be one of {', '.join(card.members)}",
        )
    weights = {
        key.removeprefix(f"{name}."): tensor
        for key, tensor in load(data).items()
        if key.startswith(f"{name}.")
    }
    return Source(
        uri=f"{uri}/{WEIGHTS_KEY}#{name}",
        sha256=card.weights_sha256,
        weights=weights,
        network=_on_meta({"name": card.architecture.name, **card.architecture.options}),
        seen=(seen_by_member(card, name),),
    )


def seen_by_member(card: Card, name: str) -> Seen:
    """Return what a member of a package was trained on: its fold, or all subjects."""
    number = name.removeprefix("fold")
    return Seen(dataset=card.dataset.uri, fold=int(number) if number.isdigit() else NO_FOLD)


def _on_meta(config: Mapping[str, Any]) -> FaceModel | None:
    if not config:
        return None
    with torch.device("meta"):
        return build_model(**config)


def _refuse_leak(source: Source, config: TrialConfig) -> None:
    """Refuse a source that was shaped by subjects on which this fold is tested."""
    for seen in source.seen:
        known = _tested_before(seen, config)
        if known:
            raise ConfigError(
                f"fold {config.fold} cannot start from {source.uri}: it was trained on {known} of "
                f"{seen.dataset}, on which fold {config.fold} is tested",
                "start from the same fold: {fold} in the URI stands for it",
            )


def _tested_before(seen: Seen, config: TrialConfig) -> str:
    """Return in words which test subjects of the trial a model knows; empty for none."""
    if config.fold == NO_FOLD:
        return ""
    if seen.dataset == config.dataset:
        # Every fold is trained on the parts on which the others are tested.
        return "" if seen.fold == config.fold else "subjects"
    try:
        theirs, mine = open_dataset(seen.dataset).manifest, open_dataset(config.dataset).manifest
    except AufleetError:
        return ""  # a data set that is gone cannot be asked
    if theirs.name != mine.name:
        return ""  # equal names of subjects are other people
    shared = sorted({*theirs.subjects_known_to(seen.fold)} & {*mine.fold(config.fold).test})
    return f"{len(shared)} subjects ({shared[0]}, ...)" if shared else ""
