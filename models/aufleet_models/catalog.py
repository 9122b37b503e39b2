"""The one table of networks: name -> what it is, its options and its class.

To add a network: one file with a `FaceModel` and its options, one line here.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, get_args

from aufleet_models.algrnet import ALGRNet, ALGRNetOptions, LGRNetOptions
from aufleet_models.contract import FaceModel, Task
from aufleet_models.jaanet import JAANet, JAANetOptions
from aufleet_models.lpnet import LPNet, LPNetOptions
from aufleet_models.medt import MedT, MedTOptions
from aufleet_models.mgrrnet import MGRRNet, MGRRNetOptions
from aufleet_models.options import nearest, read_options
from aufleet_models.resnet import ResNet, ResNet18Options, ResNet50Options


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One network of the catalog."""

    summary: str
    """What it is, in one line."""
    options: type
    """Frozen dataclass of its options; the defaults are the paper's."""
    build: type[FaceModel]
    """Its class: `build(options, task=, units=, width=)`."""


CATALOG = MappingProxyType(
    {
        "algrnet": Entry(
            summary="adaptive regions, skip-BiLSTM from brow to chin, global fusion",
            options=ALGRNetOptions,
            build=ALGRNet,
        ),
        "lgrnet": Entry(
            summary="ALGRNet with fixed regions and local heads only",
            options=LGRNetOptions,
            build=ALGRNet,
        ),
        "jaanet": Entry(
            summary="landmarks and one refined attention map per unit, journal version",
            options=JAANetOptions,
            build=JAANet,
        ),
        "mgrrnet": Entry(
            summary="region graphs with a prior, fused with attention over channels and pixels",
            options=MGRRNetOptions,
            build=MGRRNet,
        ),
        "lpnet": Entry(
            summary="an LSTM per unit over the regions of a ResNet, shifted by the face's shape",
            options=LPNetOptions,
            build=LPNet,
        ),
        "resnet18": Entry(
            summary="the whole face, 18 layers",
            options=ResNet18Options,
            build=ResNet,
        ),
        "resnet50": Entry(
            summary="the whole face, 50 layers",
            options=ResNet50Options,
            build=ResNet,
        ),
        "medt": Entry(
            summary="gated axial attention: the encoder of Medical Transformer",
            options=MedTOptions,
            build=MedT,
        ),
    }
)


def list_models() -> list[str]:
    """Return the names of the networks."""
    return sorted(CATALOG)


def build_model(
    name: str,
    *,
    task: Task,
    units: Sequence[int] | None = None,
    width: float = 1.0,
    **options: Any,  # noqa: ANN401 - each network's dataclass types and checks them
) -> FaceModel:
    """Return a network with PyTorch's default initialisation.

    Args:
        name: A name of the catalog.
        task: "au" or "palsy".
        units: The action units for "au", in the order of the answer.
        width: Scale of every channel count; 1.0 is the published network.
        options: Options of the network; see its dataclass in the catalog.

    Raises:
        ValueError: An unknown name, option or value; the sentence lists the right ones.
    """
    if name not in CATALOG:
        raise ValueError(f"no network {name!r} in the catalog: {nearest(name, CATALOG)}")
    if task not in get_args(Task):
        raise ValueError(f"task is {task!r}: choose one of {', '.join(get_args(Task))}")
    if (task == "au") == (not units):
        raise ValueError(f"task {task} {'needs a list of' if task == 'au' else 'takes no'} units")
    if not width > 0:
        raise ValueError(f"width is {width}: it is a positive scale of the channel counts")
    entry = CATALOG[name]
    read = read_options(entry.options, options, model=name)
    units = list(units) if units else None
    model = entry.build(read, task=task, units=units, width=width)  # pyright: ignore
    model.config = {"name": name, "task": task, "units": units, "width": width, **asdict(read)}
    return model
