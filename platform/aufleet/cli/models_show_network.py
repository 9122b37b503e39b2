"""The network that `aufleet models show` draws: trained and promoted, of a trial, or untrained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from aufleet.errors import ConfigError, ModelNotFoundError, ObjectMissingError

if TYPE_CHECKING:
    from aufleet_models.contract import FaceModel

Task = Literal["au", "palsy"]
SEED = 0
"""Of an untrained network's weights."""
UNTRAINED = "untrained weights"


@dataclass(frozen=True, kw_only=True)
class ShownNetwork:
    """One network, or the members of an ensemble, which are shown as their mean.

    Attributes:
        title: What it is called.
        architecture: Its name in the catalog.
        origin: Where its weights come from, in words.
        trained: False for fresh weights.
        task: What it answers.
        labels: Of its answers, in their order: "AU12", or "medium".
        thresholds: The probability from which a unit counts as active; empty for palsy.
        temperature: Divides the mean logits.
        members: Name -> network, not folded.
    """

    title: str
    architecture: str
    origin: str
    trained: bool = True
    task: Task
    labels: tuple[str, ...]
    thresholds: tuple[float, ...] = ()
    temperature: float = 1.0
    members: "Mapping[str, FaceModel]"


@dataclass(frozen=True, kw_only=True)
class FreshSettings:
    """How a network of the catalog is built; None and "" leave a setting at its default."""

    task: Task | None = None
    units: str = ""
    width: float | None = None


def open_network(name: str, *, fresh: FreshSettings) -> ShownNetwork:
    """Return the network of a name.

    A name of the catalog is the untrained network; NAME@champion is a registered model even if it
    is called like one.

    Raises:
        ConfigError: The name has no valid form, or settings are given that it does not take.
        ModelNotFoundError: Nothing has this name.
        PackageError: The package cannot be read.
    """
    from aufleet_models import list_models

    if name in list_models():
        return _fresh(name, fresh)
    _refuse_settings(fresh, what=f"{name} is a trained model")
    if "/" in name:
        return _of_package(name.rstrip("/"), title=f"package {name.rstrip('/')[-64:][:12]}")
    return _registered(name)


def open_checkpoint(uri: str, *, fresh: FreshSettings) -> ShownNetwork:
    """Return the network of a trial's checkpoint folder.

    Raises:
        ConfigError: There is no checkpoint, or settings are given that it does not take.
        ObjectCorruptError: It is damaged.
    """
    from aufleet.storage import open_store
    from aufleet.training.checkpoints import MODEL, read_checkpoint, read_tensors
    from aufleet_models import build_model

    _refuse_settings(fresh, what="a checkpoint is a trained network")
    folder = uri.rstrip("/").removesuffix(f"/{MODEL}")
    parent, _, key = folder.rpartition("/")
    store = open_store(parent or ".")
    try:
        checkpoint = read_checkpoint(store, key)
    except ObjectMissingError:
        raise ConfigError(
            f"there is no whole checkpoint at {folder}",
            "give the folder that holds checkpoint.json, as aufleet train prints it",
        ) from None
    state = read_tensors(store, checkpoint, MODEL)
    try:
        network = build_model(**checkpoint.network)
        network.load_state_dict(state)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"the checkpoint at {folder} fits no network ({reason})",
            "it was written by another version of the networks",
        ) from None
    name, fold = network.config["name"], checkpoint.settings["fold"]
    units = network.config["units"]
    return ShownNetwork(
        title=f"checkpoint of {name}",
        architecture=name,
        origin=f"fold {fold}, epoch {checkpoint.epoch}",
        task=network.config["task"],
        labels=_labels(units),
        thresholds=(0.5,) * len(units or ()),
        members={f"fold{fold}": network},
    )


def choose_member(network: ShownNetwork, member: str) -> ShownNetwork:
    """Return the network with one member alone, or with all where none is named.

    Raises:
        ConfigError: It has no such member.
    """
    if not member:
        return network
    if member not in network.members or len(network.members) == 1:
        known = ", ".join(network.members)
        what = f"{network.title} has no member {member!r}"
        if len(network.members) == 1:
            raise ConfigError(f"{network.title} is one network alone", "leave --member out")
        raise ConfigError(what, f"its members are {known}")
    return replace(
        network,
        origin=f"{member} alone",
        members={member: network.members[member]},
    )


def _registered(name: str) -> ShownNetwork:
    from aufleet.registry.versions import Versions, parse_reference
    from aufleet_models import list_models

    wanted, which = parse_reference(name)
    try:
        version = Versions().resolve(wanted, which)
    except ModelNotFoundError as error:
        networks = f"networks of the catalog: {', '.join(list_models())}"
        remedy = f"{error.remedy}; {networks}" if which is None else error.remedy
        raise ModelNotFoundError(error.what, remedy) from None
    marks = "".join(f" @{alias}" for alias in version.aliases)
    return _of_package(version.package_uri, title=f"{version.name}:{version.version}{marks}")


def _of_package(uri: str, *, title: str) -> ShownNetwork:
    from aufleet.domain.action_units import label_of
    from aufleet.registry.package import load_package

    package = load_package(uri)
    card = package.card
    names = card.members
    listed = ", ".join(names)
    return ShownNetwork(
        title=title,
        architecture=card.architecture.name,
        origin=f"mean of {listed}" if len(names) > 1 else listed,
        task=card.task,
        labels=_labels(card.units),
        thresholds=tuple(card.thresholds[label_of(unit)] for unit in card.units),
        temperature=card.temperature,
        members=dict(zip(names, package.model.members, strict=True)),  # pyright: ignore
    )


def _fresh(name: str, fresh: FreshSettings) -> ShownNetwork:
    import torch

    from aufleet_models import build_model

    task = fresh.task or "au"
    units = _units(fresh.units, task=task)
    width = 1.0 if fresh.width is None else fresh.width
    try:
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            network = build_model(name, task=task, units=units, width=width)
    except ValueError as error:
        raise ConfigError(f"{name} cannot be built: {error}") from None
    return ShownNetwork(
        title=name,
        architecture=name,
        origin=f"{UNTRAINED}, width {width:g}",
        trained=False,
        task=task,
        labels=_labels(units),
        thresholds=(0.5,) * len(units or ()),
        members={UNTRAINED: network},
    )


def _units(text: str, *, task: Task) -> Sequence[int] | None:
    from aufleet.domain.action_units import BP4D_UNITS, parse_unit

    if task == "palsy":
        if text:
            raise ConfigError("a palsy network grades the face and has no units", "drop --units")
        return None
    return tuple(map(parse_unit, text.split(","))) if text else BP4D_UNITS


def _labels(units: Sequence[int] | None) -> tuple[str, ...]:
    from aufleet.domain.action_units import label_of
    from aufleet.domain.palsy import GRADES

    return tuple(map(label_of, units)) if units else tuple(grade.label for grade in GRADES)


def _refuse_settings(fresh: FreshSettings, *, what: str) -> None:
    given = {"--task": fresh.task, "--units": fresh.units or None, "--width": fresh.width}
    refused = [flag for flag, value in given.items() if value is not None]
    if refused:
        raise ConfigError(
            f"{what} and takes no {' or '.join(refused)}", "it says itself what it is"
        )
