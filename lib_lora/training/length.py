"""How long a run is: so many epochs, or so many steps."""

from __future__ import annotations

from lib_lora.training.config import TrainConfig


def total_steps(config: TrainConfig, per_epoch: int) -> int:
    """Optimizer steps of the whole run; ``per_epoch`` are those of an epoch."""
    return config.max_steps or per_epoch * config.epochs


def epochs_begun(config: TrainConfig, per_epoch: int) -> int:
    """The epochs of the run, the last of which may be cut short by its number of steps."""
    return -(-total_steps(config, per_epoch) // per_epoch)


def epochs_exactly(config: TrainConfig, per_epoch: int) -> float:
    """The length of the run in epochs and a part of one."""
    return config.max_steps / per_epoch if config.max_steps else config.epochs
