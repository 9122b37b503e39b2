"""Weights of one network into another: whole tensors, and within them what belongs to a unit.

A network keeps the weights of its units side by side in one tensor. Another network may detect
other units, in another order: then each unit's share is copied from the same unit, or from the one
that a map names, and units without a source stay as they are. Counts of labels (balance weights,
the mean shape, a graph's prior) belong to the training data and are never copied.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from aufleet_models.contract import FaceModel
from aufleet_models.options import nearest

Label = int | str
"""A unit, or what a branch of a palsy network stands for."""
UnitMap = Mapping[int, int | None]
"""Unit of the network -> unit of the source, or None to leave it as it is."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is copied, and to where.

    Attributes:
        into: The part of the network to which the names of the source belong ("stem").
        parts: Copy these parts only: "stem", "readout.local".
        fresh: Leave these parts as they are.
        units: Which unit takes over from which; a unit that is not named from the same unit.
    """

    into: str = ""
    parts: Sequence[str] = ()
    fresh: Sequence[str] = ()
    units: UnitMap = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What was copied; parts are the shortest names that stand for all tensors below them.

    Attributes:
        copied: Parts that were copied whole.
        partly: Parts of which only some units had a source.
        fresh: Parts that stay as they are.
        unused: Parts of the source that nothing here takes.
        units: Unit -> the source's unit, of those that were copied; empty where no part belongs
            to units.
    """

    copied: tuple[str, ...]
    partly: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]
    units: Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How a tensor is made of one piece per unit."""

    spread: Callable[[Tensor, int], Tensor]
    """Tensor and number of units n -> (n, ...)."""
    sorted: bool = True
    """Units in the order of the network's branches, else in that of its answer."""
    pairs: bool = False
    """(n, n): a number for each two units."""


_ROWS = _Layout(spread=lambda tensor, n: tensor.unflatten(0, (n, -1)))
_ANSWERS = _Layout(spread=_ROWS.spread, sorted=False)
_STATES = _Layout(
    spread=lambda tensor, n: tensor.unflatten(0, (2, n)).transpose(0, 1), sorted=False
)
_PAIRS = _Layout(spread=lambda tensor, n: tensor, pairs=True)
# The second direction of the skip-BiLSTM counts its states from the chin up.
_DIRECTIONS = _Layout(spread=lambda tensor, n: torch.stack([tensor[0], tensor[1].flip(0)], dim=1))

_TENSORS = (
    # The region networks: JAA-Net, LGRNet and ALGRNet, MGRR-Net.
    (r"(refining|local|refinement)\.layers\.\d+\.(conv|norm)\.\w+", _ROWS),
    (r"refinement\.last\.\w+", _ROWS),
    (r"(fusion|layers\.\d+\.region_fusion)\.\w+\.(weight|bias)", _ROWS),
    (r"layers\.\d+\.graph\.project\.\w+", _ROWS),
    (r"layers\.\d+\.graph\.adjacency", _PAIRS),
    (r"lstm\.skips\.\w+", _DIRECTIONS),
    (r"adaptive\.(offset|scale)\.2\.\w+", _ROWS),
    (r"readout\.local\.(hidden|states)\.\w+", _ROWS),
    (r"readout\.integrated\.outputs\.\w+", _STATES),
    # LP-Net: L-Net or the linear layer in its place, and P-Net; then ResNet and MedT.
    (r"local\.\w+|person\.shifts\.\w+", _ANSWERS),
    (r"classifier\.\w+", _ANSWERS),
)
"""Names of the tensors that hold a piece per unit, and how. A test compares every network of the
catalog at two numbers of units with this table."""
_COUNTER = "num_batches_tracked"


def unit_layout(name: str) -> _Layout | None:
    """Return how a network's tensor of this name is made of units; None where it is not."""
    if name.endswith(_COUNTER):
        return None
    return next((layout for pattern, layout in _TENSORS if re.fullmatch(pattern, name)), None)


@torch.no_grad()
def transfer_weights(
    network: FaceModel,
    weights: Mapping[str, Tensor],
    *,
    source: FaceModel | None = None,
    selection: Selection | None = None,
) -> Transfer:
    """Copy weights into a network and say what was copied.

    A part that is named is copied whole, but for units without a source, or not at all: then it
    is an error. Without named parts whatever fits is copied.

    Args:
        network: The network that receives them.
        weights: Name -> tensor of the source.
        source: The source's network, where it is known; it may lie on the meta device. Without it
            tensors that are made of units are not copied.
        selection: What is copied to where; None copies whatever fits.

    Raises:
        ValueError: A part that does not exist or does not fit, a unit that is not there, or
            nothing that fits.
    """
    chosen = selection or Selection()
    into = (chosen.into,) if chosen.into else ()
    offered = {".".join((*into, name)): tensor for name, tensor in weights.items()}
    plan = _Plan(network, source=source, units=chosen.units)
    for part in (*chosen.parts, *chosen.fresh, *into):
        _require_part(part, plan.tensors)
    copies = plan.copies(offered, parts=chosen.parts or into, fresh=chosen.fresh)
    for name, copy in copies.items():
        plan.tensors[name].copy_(copy.tensor)
    status = {
        name: copies[name].status if name in copies else "fresh"
        for name in plan.tensors
        if not name.endswith(_COUNTER)
    }
    return Transfer(
        copied=_shortest(status, "copied"),
        partly=_shortest(status, "partly"),
        fresh=_shortest(status, "fresh"),
        unused=_shortest({name: str(name in copies) for name in offered}, "False"),
        units=plan.matched if any(unit_layout(name) for name in copies) else {},
    )


@dataclass(frozen=True, kw_only=True)
class _Copy:
    """A tensor of the network with what it takes over."""

    tensor: Tensor
    status: str


class _Plan:
    """What each tensor of a network takes from a source."""

    def __init__(self, network: FaceModel, *, source: FaceModel | None, units: UnitMap) -> None:
        self._network, self._source, self._units = network, source, units
        self.tensors = _learned(network)
        _require_units(units, network=network, source=source)

    @property
    def matched(self) -> dict[int, int]:
        """Unit of the network -> the source's."""
        theirs = set(_labels(self._source, branches=False)) if self._source else set()
        pairs = {label: self._from(label) for label in _labels(self._network, branches=False)}
        return {
            label: other
            for label, other in pairs.items()
            if isinstance(label, int) and isinstance(other, int) and other in theirs
        }

    def copies(
        self, offered: Mapping[str, Tensor], *, parts: Sequence[str], fresh: Sequence[str]
    ) -> "dict[str, _Copy]":
        """Return what is copied, by the network's names; nothing is copied yet.

        Raises:
            ValueError: A named part does not fit, or nothing does.
        """
        found = {
            name: self._copy_of(name, offered)
            for name in self.tensors
            if (not parts or _is_below(name, parts)) and not _is_below(name, fresh)
        }
        problems = [one for one in found.values() if isinstance(one, str)]
        copies = {name: one for name, one in found.items() if isinstance(one, _Copy)}
        if parts and problems:
            raise ValueError(_told(problems))
        if all(name.endswith(_COUNTER) for name in copies):
            raise ValueError(f"nothing fits: {_told(problems or ['every part stays fresh'])}")
        return copies

    def _copy_of(self, name: str, offered: Mapping[str, Tensor]) -> "_Copy | str":
        """Return the tensor after the copy, or why there is none."""
        mine, theirs = self.tensors[name], offered.get(name)
        if theirs is None:
            # Conversions of public weights drop the counter, and nothing here reads it.
            counter = name.endswith(_COUNTER)
            return _Copy(tensor=mine, status="copied") if counter else f"it holds no {name}"
        layout = unit_layout(name)
        if layout is not None:
            return self._copy_units(name, layout, mine=mine, theirs=theirs)
        if mine.shape != theirs.shape:
            return f"{name} has shape {_shape(theirs)} there and {_shape(mine)} here"
        return _Copy(tensor=theirs, status="copied")

    def _copy_units(
        self, name: str, layout: _Layout, *, mine: Tensor, theirs: Tensor
    ) -> "_Copy | str":
        if self._source is None:
            return f"{name} belongs to units, and the file does not say to which"
        to = _labels(self._network, branches=layout.sorted)
        known = {
            label: position
            for position, label in enumerate(_labels(self._source, branches=layout.sorted))
        }
        here = [place for place, label in enumerate(to) if self._from(label) in known]
        there = [known[self._from(to[place])] for place in here]  # pyright: ignore[reportArgumentType]
        if not here:
            return f"no unit of {name} has a source"
        # Positions travel through the same layout as numbers do, whatever its order.
        places = layout.spread(torch.arange(mine.numel()).view(mine.shape), len(to))
        try:
            values = layout.spread(theirs, len(known))
        except RuntimeError:
            return f"{name} has shape {_shape(theirs)} there and {_shape(mine)} here"
        if layout.pairs:
            places, values = places[here][:, here], values[there][:, there]
        else:
            places, values = places[here], values[there]
        if places.shape != values.shape:
            return f"{name} has shape {_shape(theirs)} there and {_shape(mine)} here"
        merged = mine.flatten().clone()
        merged[places.flatten()] = values.to(merged).flatten()
        status = "copied" if len(here) == len(to) else "partly"
        return _Copy(tensor=merged.view(mine.shape), status=status)

    def _from(self, label: Label) -> Label | None:
        """Return the source's label for one of the network."""
        return self._units.get(label, label) if isinstance(label, int) else label


def _learned(network: nn.Module) -> dict[str, Tensor]:
    """Return parameters and running statistics of batch norms; other buffers are counts."""
    counts = {
        f"{name}.{buffer}" if name else buffer
        for name, module in network.named_modules()
        if not isinstance(module, nn.modules.batchnorm._BatchNorm)
        for buffer, _ in module.named_buffers(recurse=False)
    }
    return {name: one for name, one in network.state_dict().items() if name not in counts}


def _labels(network: FaceModel, *, branches: bool) -> list[Label]:
    """Return what the pieces of a tensor stand for, in their order.

    Args:
        network: The network.
        branches: In the order of its branches, else in that of its answer.
    """
    order: Iterable[int] = getattr(network, "order", ())
    units = network.config.get("units")
    if units:
        return [units[place] for place in order] if branches and order else list(units)
    places = order or range(getattr(network, "num_outputs", 0))
    return [f"palsy {place}" for place in places]


def _require_units(units: UnitMap, *, network: FaceModel, source: FaceModel | None) -> None:
    if not units:
        return
    if source is None:
        raise ValueError("a map of units needs a source that says its units: a trial or a package")
    pairs = (
        (units, network, "the network"),
        ([one for one in units.values() if one is not None], source, "its source"),
    )
    for named, owner, who in pairs:
        known = owner.config.get("units") or ()
        if unknown := sorted(set(named) - set(known)):
            listed = ", ".join(map(str, known)) or "none"
            raise ValueError(f"units names {unknown[0]}, which {who} does not detect: {listed}")


def _require_part(part: str, names: Iterable[str]) -> None:
    names = list(names)
    if not any(_is_below(name, (part,)) for name in names):
        depth = part.count(".") + 1
        known = {".".join(name.split(".")[:depth]) for name in names}
        raise ValueError(f"the network has no part {part!r}: {nearest(part, known)}")


def _is_below(name: str, parts: Iterable[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _shortest(status: Mapping[str, str], wanted: str, *, prefix: str = "") -> tuple[str, ...]:
    """Return the shortest names below which every tensor has the wanted status."""
    groups: dict[str, dict[str, str]] = {}
    for name, value in status.items():
        groups.setdefault(name[len(prefix) :].partition(".")[0], {})[name] = value
    found: list[str] = []
    for first, below in groups.items():
        values = set(below.values())
        if values == {wanted}:
            found.append(prefix + first)
        elif wanted in values:
            found += _shortest(below, wanted, prefix=f"{prefix}{first}.")
    return tuple(found)


def _told(problems: Sequence[str]) -> str:
    others = f" ({len(problems) - 1} more like this)" if len(problems) > 1 else ""
    return problems[0] + others


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "1"
