"""What a search will read, write and take, as far as that is known before it runs."""

import statistics
from collections import defaultdict
from dataclasses import dataclass

from aufleet.data.dataset import open_dataset
from aufleet.data.manifest import Manifest
from aufleet.errors import AufleetError
from aufleet.storage import Store
from aufleet.training.config import TrialConfig
from aufleet.tuning.experiment import Experiment
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.meter import HOUR_S
from aufleet.tuning.plan import Plan

FLOPS_PER_GPU = 5e12
"""Operations a second that a GPU is assumed to sustain on these small networks, as long as none of
their trials has been measured."""
_TRAINING = 3
"""A training step costs a forward and a backward, which is two forwards."""
_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """An estimate of a whole search without early stopping.

    Attributes:
        read_bytes: Training and validation parts of every trial; a node's cache reads less.
        written_bytes: Checkpoints that stay: the best ones and the last, with optimizer states.
        gpu_hours: Of all trials; 0 where they hold no GPU.
        basis: What the hours go by: "measured" trials of this experiment, or "operations".
    """

    read_bytes: int
    written_bytes: int
    gpu_hours: float
    basis: str

    def to_plain(self) -> dict[str, object]:
        """Return what stands in JSON."""
        return {
            "read_bytes": self.read_bytes,
            "written_bytes": self.written_bytes,
            "gpu_hours": round(self.gpu_hours, 3),
            "gpu_hours_basis": self.basis,
        }


def forecast(experiment: Experiment, plan: Plan, *, root: Store) -> Forecast | None:
    """Return an estimate, or None where the data set cannot be opened yet."""
    trials = [trial for one in plan.drawn for trial in one.trials]
    if not trials:
        return None
    try:
        manifest = open_dataset(trials[0].dataset).manifest
    except AufleetError:
        return None
    measured = _measured_rates(root.child(f"experiments/{experiment.name}"))
    scale = plan.trials / len(trials)
    sizes = {_shape(one): _size(one, manifest) for one in {_shape(t): t for t in trials}.values()}
    reads = [_part(manifest, one.fold, "size_bytes") for one in trials]
    writes = [sizes[_shape(one)].parameters * _copies(one) * _BYTES for one in trials]
    hours = [
        _hours(one, manifest, flops=sizes[_shape(one)].flops, measured=measured.get(one.model))
        for one in trials
    ]
    gpus = experiment.resources.gpus_per_rank
    return Forecast(
        read_bytes=round(scale * sum(reads)),
        written_bytes=round(scale * sum(writes)),
        gpu_hours=scale * sum(gpus * h for h in hours),
        basis="measured" if measured else "operations",
    )


@dataclass(frozen=True, kw_only=True)
class _Size:
    parameters: int
    flops: float
    """Operations of one frame's forward."""


def _shape(trial: TrialConfig) -> str:
    return f"{trial.model} {trial.width} {sorted(trial.options.items())} {trial.units}"


def _size(trial: TrialConfig, manifest: Manifest) -> _Size:
    """Return the size of a network, built without memory on the meta device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from aufleet_models import build_model

    units = (trial.units or manifest.units) if trial.task == "au" else None
    with torch.device("meta"):
        network = build_model(
            trial.model, task=trial.task, units=units, width=trial.width, **trial.options
        ).eval()
        parameters = sum(one.numel() for one in network.parameters())
        frames = torch.zeros(1, 3, network.frame_size, network.frame_size)
        try:
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                network(frames)
        except Exception:
            # Some networks look at values, which the meta device has not: by their parameters.
            return _Size(parameters=parameters, flops=2.0 * parameters * 100)
    return _Size(parameters=parameters, flops=float(counter.get_total_flops()))


def _copies(trial: TrialConfig) -> int:
    """Return how many numbers are kept for each parameter of a trial."""
    states = 2 if trial.optimizer == "adamw" else 1
    return (trial.keep_best + 1) * (1 + states)


def _part(manifest: Manifest, fold: int, what: str) -> int:
    """Return frames or bytes of a fold's training and validation subjects."""
    subjects = next(one for one in manifest.folds if one.number == fold)
    wanted = {*subjects.train, *subjects.validation}
    return sum(getattr(one, what) for one in manifest.partitions if one.subject in wanted)


def _hours(
    trial: TrialConfig, manifest: Manifest, *, flops: float, measured: float | None
) -> float:
    """Return the hours of one trial on one rank's GPU, times its ranks."""
    if measured is not None:
        return trial.ranks * measured * trial.epochs / HOUR_S
    frames = _part(manifest, trial.fold, "num_frames") * trial.epochs
    return _TRAINING * flops * frames / FLOPS_PER_GPU / HOUR_S


def _measured_rates(store: Store) -> dict[str, float]:
    """Return model -> seconds an epoch, of trials of this experiment that ended."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for one in Ledger(store).trials():
        if one.status == "finished" and one.held_s and one.curve:
            seconds[one.model].append(one.held_s / len(one.curve))
    return {model: statistics.median(found) for model, found in seconds.items()}


def in_words(estimate: Forecast) -> str:
    """Return the estimate in one sentence."""
    gib = 1024**3
    basis = (
        "as measured on its own trials"
        if estimate.basis == "measured"
        else f"at {FLOPS_PER_GPU / 1e12:g} TFLOP/s"
    )
    hours = f", about {estimate.gpu_hours:.1f} GPU hours {basis}" if estimate.gpu_hours else ""
    return (
        f"without early stopping: reads at most {estimate.read_bytes / gib:.2f} GiB, "
        f"keeps {estimate.written_bytes / gib:.2f} GiB of checkpoints{hours}"
    )
