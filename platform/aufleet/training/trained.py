"""A trained model, whatever holds it: a package, a trial, or one of its checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from aufleet.data.dataset import open_dataset
from aufleet.data.manifest import Manifest
from aufleet.errors import AufleetError, ConfigError
from aufleet.registry.package import CARD_KEY, load_package
from aufleet.storage import Store, open_store, root_uri
from aufleet.training.checkpoints import MODEL, Checkpoint, read_tensors
from aufleet.training.initial import BELOW_ROOT, Seen, checkpoint_in, seen_by, seen_by_member
from aufleet_models import build_model


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A network that can be scored.

    Attributes:
        uri: Where it lies.
        network: In evaluation mode: `network(frames, landmarks) -> Prediction`.
        architecture: Its name in the catalog.
        task: What it answers.
        units: In the order of its outputs; None for palsy.
        frame_size: Side of its crop in pixels.
        num_points: Landmarks that it reads; 0 for none.
        thresholds: "AU12" -> the probability from which it counts as active; empty where none was
            chosen.
        seen: What shaped it.
        is_released: It is a package: which model was to be taken has been decided.
        weights_sha256: Of its file.
    """

    uri: str
    network: nn.Module
    architecture: str
    task: Literal["au", "palsy"]
    units: tuple[int, ...] | None
    frame_size: int
    num_points: int
    thresholds: Mapping[str, float] = field(default_factory=dict)
    seen: tuple[Seen, ...]
    is_released: bool
    weights_sha256: str


def open_trained(uri: str) -> TrainedModel:
    """Return the model in a package's, a finished trial's or a checkpoint's folder.

    Args:
        uri: The folder; "experiments/..." and "models/..." lie below the root.

    Raises:
        ConfigError: Nothing of the kind is there.
        PackageError: The package is damaged.
        ObjectCorruptError: The checkpoint is.
    """
    folder = uri.rstrip("/").removesuffix(f"/{MODEL}")
    if folder.startswith(BELOW_ROOT):
        folder = f"{root_uri()}/{folder}"
    store = open_store(folder)
    if store.exists(CARD_KEY):
        return _of_package(store.uri)
    found = checkpoint_in(store)
    if found is None:
        raise ConfigError(
            f"there is no model at {store.uri}",
            "name a registered model, or the folder of a package, a trial or a checkpoint",
        )
    return _of_checkpoint(*found)


def seen_subjects(model: TrainedModel, manifest: Manifest) -> tuple[set[str], set[str]]:
    """Return which of a data set's subjects shaped a model, and which are its fold's test part.

    Equal names are the same person only within data sets of one name, whatever their version.
    """
    seen: set[str] = set()
    held_out: set[str] = set()
    for one in model.seen:
        try:
            theirs = open_dataset(one.dataset).manifest
        except AufleetError as error:
            raise ConfigError(
                f"{one.dataset}, on which {model.uri} was trained, cannot be asked for its "
                f"subjects ({error})",
                "bring it back: otherwise a score may be one on subjects that the model knows",
            ) from None
        if theirs.name != manifest.name:
            continue
        seen |= {*theirs.subjects_known_to(one.fold)}
        held_out |= {*theirs.subjects} - {*theirs.subjects_known_to(one.fold)}
    mine = set(manifest.subjects)
    return seen & mine, (held_out - seen) & mine


def _of_package(uri: str) -> TrainedModel:
    package = load_package(uri)
    card, network = package.card, package.model
    return TrainedModel(
        uri=uri,
        network=network,
        architecture=card.architecture.name,
        task=card.task,
        units=card.units or None,
        frame_size=card.frame_size,
        num_points=int(getattr(network, "num_points", 0)),
        thresholds=card.thresholds,
        seen=tuple(seen_by_member(card, name) for name in card.members),
        is_released=True,
        weights_sha256=card.weights_sha256,
    )


def _of_checkpoint(store: Store, checkpoint: Checkpoint) -> TrainedModel:
    try:
        network = build_model(**checkpoint.network)
        network.load_state_dict(read_tensors(store, checkpoint, MODEL))
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the checkpoint at {store.uri_of(checkpoint.key)} fits no network "
            f"({str(error).partition(chr(10))[0]})",
            "it was written by another version of the networks",
        ) from None
    units = checkpoint.network["units"]
    return TrainedModel(
        uri=store.uri_of(checkpoint.key),
        network=network.eval(),
        architecture=checkpoint.network["name"],
        task=checkpoint.settings["task"],
        units=tuple(units) if units else None,
        frame_size=network.frame_size,
        num_points=network.num_points,
        seen=seen_by(checkpoint),
        is_released=False,
        weights_sha256=checkpoint.digests[MODEL],
    )
