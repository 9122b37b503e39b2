"""A network and its optimizer inside DeepSpeed: a step, and weights and optimizer state by name."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from aufleet.errors import ConfigError
from aufleet.training.config import TrialConfig
from aufleet.training.environment import load_deepspeed
from aufleet.training.ranks import Ranks
from aufleet_models.contract import FaceModel, Prediction

_STATES = {"sgd": ("momentum_buffer",), "adamw": ("exp_avg", "exp_avg_sq")}
"""The tensors that an optimizer keeps per parameter."""
_STEP = "step"

Batch = Mapping[str, Tensor]


class Engine:
    """A network in training.

    What leaves and enters it is consolidated and named: weights as in the network's `state_dict`,
    optimizer state as "<state>:<parameter>". Parameters and optimizer states are fp32 at every
    stage, there is no loss scale, and the learning rate follows from the epoch: so these two are
    all there is, and a trial goes on from them with the same bits, on any number of ranks.
    """

    def __init__(self, network: FaceModel, *, config: TrialConfig, ranks: Ranks) -> None:
        """Put the network on the rank's device and into DeepSpeed; every rank calls this."""
        self.network = network.to(ranks.device)
        self._ranks = ranks
        self._states = _STATES[config.optimizer]
        factors, groups = _parameter_groups(self.network, config)
        self._factors = factors
        self._deepspeed = load_deepspeed()
        self._inner: Any = self._deepspeed.initialize(
            model=_Loss(self.network),
            optimizer=_optimizer(groups, config),
            config=_deepspeed_config(config, num_weights=_num_weights(groups)),
            dist_init_required=False,
        )[0]
        self._stage, self._accumulation = config.zero_stage, config.accumulation
        self._parameters = {n: p for n, p in self.network.named_parameters() if p.requires_grad}
        self._averages = ranks.size > 1 or config.zero_stage > 0
        # A rank alone would copy its gradients to average them with nobody's.
        self._inner.enable_backward_allreduce = self._averages

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next steps; parts with a factor of their own follow it."""
        for group, factor in zip(self._optimizer.param_groups, self._factors, strict=True):
            group["lr"] = factor * learning_rate

    def step(self, batch: Batch, *, weight: float = 1.0) -> Tensor:
        """Train on this rank's share of a global batch and return its loss, a detached scalar.

        Args:
            batch: The share.
            weight: On its gradient: share of the frames x number of ranks.
        """
        if not self._inner.module.training:
            self._inner.module.train()
        losses = []
        for part, share in _passes(batch, number=self._accumulation):
            loss = self._inner(part)
            # DeepSpeed divides by the number of passes; parts of a short batch are not equal.
            scale = weight * share * self._accumulation
            self._inner.backward(loss if scale == 1.0 else loss * scale)
            if not self._averages:
                self._fill_gradients()
            self._inner.step()
            losses.append(loss.detach() * share if share != 1.0 else loss.detach())
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def predict(self, frames: Tensor, landmarks: Tensor) -> Prediction:
        """Return the network's prediction in evaluation mode."""
        if self._inner.module.training:
            self._inner.module.eval()
        # Through the outer module: ZeRO-3 gathers parameters by its hooks.
        return self._inner.module({"frames": frames, "landmarks": landmarks})

    def average_statistics(self) -> None:
        """Give all ranks the mean of their batch norms' running statistics.

        DeepSpeed keeps parameters equal over the ranks, never buffers.
        """
        if self._ranks.size == 1:
            return
        buffers = [buffer for norm in _batch_norms(self.network) for buffer in norm]
        if not buffers:
            return
        # In float64 the mean of equal numbers is that number, for any number of ranks.
        mean = self._ranks.sum(torch.cat([one.double().flatten() for one in buffers]))
        mean /= self._ranks.size
        for buffer, part in zip(buffers, mean.split([b.numel() for b in buffers]), strict=True):
            buffer.copy_(part.view_as(buffer))

    def weights(self) -> dict[str, Tensor]:
        """Return parameters and buffers on the CPU; every rank calls this and gets all."""
        whole = nullcontext()
        if self._stage == 3:
            whole = self._deepspeed.zero.GatheredParameters(list(self._parameters.values()))
        with whole:
            return {name: _copy(value) for name, value in self.network.state_dict().items()}

    def optimizer_state(self) -> dict[str, Tensor]:
        """Return the optimizer's state on the CPU; every rank calls this and gets all."""
        self._link_states()
        state = {
            f"{key}:{name}": _copy(value)
            for name, parameter in self._parameters.items()
            for key in self._states
            if (value := self._state_of(parameter, key)) is not None
        }
        return state | self._steps()

    def load_optimizer_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `optimizer_state` returned; every rank calls this."""
        if self._stage > 0:
            self._allocate_states(state)
        for name, parameter in self._parameters.items():
            for key in self._states:
                if (value := state.get(f"{key}:{name}")) is not None:
                    self._set_state(parameter, key, value.to(self._ranks.device))
            if (step := state.get(f"{_STEP}:{name}")) is not None:
                for flat in self._holders(parameter):
                    self._optimizer.state[flat][_STEP] = step.clone()

    def close(self) -> None:
        """Free what DeepSpeed holds."""
        self._inner.destroy()
        if self._stage == 3:
            _release_zero_3()

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        return self._inner.basic_optimizer

    def _fill_gradients(self) -> None:
        """Give a weight without part in the loss a gradient of zero: averaging ranks do so too."""
        for parameter in self._parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)

    def _steps(self) -> dict[str, Tensor]:
        """Return the number of steps that an optimizer counts, by parameter."""
        return {
            f"{_STEP}:{name}": _copy(state[_STEP])
            for name, parameter in self._parameters.items()
            for state in [self._optimizer.state[self._holders(parameter)[0]]]
            if _STEP in state
        }

    def _holders(self, parameter: nn.Parameter) -> list[Tensor]:
        """Return what the optimizer updates for a parameter: itself, or ZeRO's flat partitions."""
        if self._stage == 0:
            return [parameter]
        if self._stage == 3:
            return self._inner.optimizer.fp32_partitioned_groups_flat
        return self._inner.optimizer.single_partition_of_fp32_groups

    def _state_of(self, parameter: nn.Parameter, key: str) -> Tensor | None:
        if self._stage > 0:
            return self._deepspeed.utils.safe_get_full_optimizer_state(parameter, key)
        return self._optimizer.state[parameter].get(key)

    def _set_state(self, parameter: nn.Parameter, key: str, value: Tensor) -> None:
        if self._stage > 0:
            self._deepspeed.utils.safe_set_full_optimizer_state(parameter, value, key)
        else:
            self._optimizer.state[parameter][key] = value

    def _allocate_states(self, state: Mapping[str, Tensor]) -> None:
        """Make the flat states that ZeRO would make in its first step."""
        present = [key for key in self._states if any(n.startswith(f"{key}:") for n in state)]
        for flat in self._holders(next(iter(self._parameters.values()))):
            for key in present:
                self._optimizer.state[flat][key] = torch.zeros_like(flat)
        self._link_states()

    def _link_states(self) -> None:
        """Let ZeRO-1 and -2 find every parameter's state.

        They look for the states of all groups of parameters as soon as the first one has made its
        step, when the others have none yet.
        """
        if self._stage in (1, 2):
            self._inner.optimizer._hp_optimizer_states_linked = False
            self._inner.optimizer._lazy_init_hp_params_optimizer_state()


class _Loss(nn.Module):
    """The network with its own loss in training, and just the network in evaluation."""

    def __init__(self, network: FaceModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch) -> Tensor | Prediction:
        # LP-Net reads the landmarks; the others predict their own and ignore these.
        prediction = self.network(batch["frames"], batch["landmarks"])
        return self.network.loss(prediction, batch)["total"] if self.training else prediction


def _parameter_groups(
    network: nn.Module, config: TrialConfig
) -> tuple[list[float], list[list[nn.Parameter]]]:
    """Return factors on the learning rate, and the parameters that each is for.

    Raises:
        ConfigError: A factor names no part of the network.
    """
    parts = config.learning_rates or {}
    named = [(name, one) for name, one in network.named_parameters() if one.requires_grad]
    for part in parts:
        if not any(name.startswith(f"{part}.") or name == part for name, _ in named):
            known = ", ".join(dict.fromkeys(name.partition(".")[0] for name, _ in named))
            raise ConfigError(
                f"learning_rates names {part!r}, which {config.model} does not train",
                f"its parts are {known}",
            )
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in named:
        fitting = [part for part in parts if name.startswith(f"{part}.") or name == part]
        factor = parts[max(fitting, key=len)] if fitting else 1.0
        groups.setdefault(factor, []).append(parameter)
    return list(groups), list(groups.values())


def _optimizer(groups: list[list[nn.Parameter]], config: TrialConfig) -> torch.optim.Optimizer:
    parameters = [{"params": group} for group in groups]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(
            parameters,
            lr=config.learning_rate,
            betas=(config.momentum, 0.999),
            weight_decay=config.weight_decay,
        )
    return torch.optim.SGD(
        parameters,
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=True,
        weight_decay=config.weight_decay,
    )


def _num_weights(groups: list[list[nn.Parameter]]) -> int:
    return sum(parameter.numel() for group in groups for parameter in group)


def _deepspeed_config(config: TrialConfig, *, num_weights: int) -> dict[str, Any]:
    return {
        "train_batch_size": config.batch,
        "train_micro_batch_size_per_gpu": config.batch // config.ranks // config.accumulation,
        "gradient_accumulation_steps": config.accumulation,
        "gradient_clipping": config.gradient_clipping,  # DeepSpeed's default is 1.0, not off
        "torch_autocast": {"enabled": config.precision == "bf16", "dtype": "bfloat16"},
        "zero_optimization": _zero_config(config, num_weights=num_weights),
        "zero_allow_untested_optimizer": True,  # SGD
        "steps_per_print": 2**31,
    }


def _zero_config(config: TrialConfig, *, num_weights: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "stage": config.zero_stage,
        "memory_efficient_linear": False,
        # Room for all gradients; DeepSpeed's default takes 2 GB whatever the network.
        "reduce_bucket_size": num_weights,
        # A rank alone sends nothing: it need not gather its gradients in one place first.
        "contiguous_gradients": config.ranks > 1,
    }
    if config.zero_stage in (1, 2):
        # Nobody asks for the norm but clipping; and with it a step whose gradient is not finite
        # would be left out in silence, where the next loss is to tell.
        settings["compute_grad_norm"] = config.gradient_clipping > 0
    return settings


def _passes(batch: Batch, *, number: int) -> Iterator[tuple[Batch, float]]:
    """Yield a batch in so many parts, and the share of its frames that each holds.

    No part has a single frame, which batch normalisation cannot train on, unless the batch has no
    more. What a short batch lacks is the last part once more, without weight: DeepSpeed makes its
    step after exactly so many passes.
    """
    if number == 1:
        yield batch, 1.0
        return
    count = len(batch["index"])
    used = max(1, min(number, count // 2))
    for rows in torch.arange(count).tensor_split(used):
        part = {name: one[rows[0] : rows[-1] + 1] for name, one in batch.items()}
        yield part, len(rows) / count
    for _ in range(number - used):
        yield part, 0.0


def _release_zero_3() -> None:
    """Empty what ZeRO-3 keeps for the life of the process: every network that it ever saw."""
    from deepspeed.runtime.zero import parameter_offload
    from deepspeed.runtime.zero.partitioned_param_coordinator import PartitionedParameterCoordinator

    parameter_offload.FWD_MODULE_STACK.clear()
    for method in vars(PartitionedParameterCoordinator).values():
        for cell in getattr(method, "__closure__", None) or ():
            if hasattr(cell.cell_contents, "cache_clear"):
                cell.cell_contents.cache_clear()


def _batch_norms(network: nn.Module) -> list[tuple[Tensor, Tensor]]:
    return [
        (module.running_mean, module.running_var)
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.running_mean is not None
        and module.running_var is not None
    ]


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
