"""The learning rate of each step."""

import math

from aufleet.training.config import TrialConfig


def learning_rate_at(config: TrialConfig, *, epoch: int, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of one step; it depends on nothing but its arguments.

    Args:
        config: The trial.
        epoch: From 1.
        step: Global batch of the epoch, from 0.
        steps_per_epoch: Global batches in an epoch.
    """
    done = epoch - 1 + step / steps_per_epoch
    warm = _warm_up(config, done=done, of_a_step=1 / steps_per_epoch)
    return config.learning_rate * warm * _decay(config, epoch=epoch, done=done)


def _warm_up(config: TrialConfig, *, done: float, of_a_step: float) -> float:
    """Return a share that rises linearly; the first step already moves."""
    if done >= config.warmup_epochs:
        return 1.0
    return min(1.0, (done + of_a_step) / config.warmup_epochs)


def _decay(config: TrialConfig, *, epoch: int, done: float) -> float:
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "step":
        return config.decay ** ((epoch - 1) // config.decay_epochs)
    left = config.epochs - config.warmup_epochs
    share = max(0.0, done - config.warmup_epochs) / left
    return (1 + math.cos(math.pi * share)) / 2
