"""More epochs for a run that has finished."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from lib_lora.errors import UserError
from lib_lora.files import atomic_write
from lib_lora.training.config import TrainConfig
from lib_lora.training.length import total_steps
from lib_lora.training.lr_schedule import lr_factor
from lib_lora.training.run import Run
from lib_lora.training.state import StateSlots


def extend(run: Run, more: int) -> TrainConfig:
    """Make a finished run one of ``more`` further epochs that can be resumed; its new settings.

    The run goes on as if it had been planned so long: with a constant rate and no token warm-up the result is that of
    one longer run, to the bit. A schedule that falls is stretched, so the rate rises again; see :func:`rate_jump`. The
    file of the last epoch is kept under an epoch's name, because the final name will be the longer run's.

    Raises:
        UserError: the run is not finished, or its progress is gone.
    """
    if run.status != "finished":
        raise UserError("This run is not finished", where=run.id, fix="Continue it first")
    if more < 1:
        raise UserError("At least one more epoch is needed", where="More epochs", fix="Give a number from 1")
    if StateSlots(run.state).position() is None:
        fix = "Start a new run from its LoRA file"
        raise UserError("The progress of this run was deleted", where=run.state, fix=fix)
    config = run.config()
    longer = _longer(config, more, run.result()["step"], steps_per_epoch(run)).check()
    _keep_last_file(run, config)
    run.extended(
        config.max_steps or config.epochs
    )  # before config.toml: the saved state still has the hash of the shorter run
    run.reopen()
    run.write_config(longer)
    return longer


def rate_jump(config: TrainConfig, more: int, steps: int, per_epoch: int | None = None) -> tuple[float, float]:
    """The learning rate at the end of a run of ``steps`` steps, and where ``more`` epochs would begin.

    Both are factors of the rates in the settings.

    Args:
        per_epoch: steps of an epoch; None: as many as make ``steps`` in the epochs of the settings.
    """
    per_epoch = per_epoch or steps // config.epochs
    longer = _longer(config, more, steps, per_epoch)
    return lr_factor(config, steps - 1, steps), lr_factor(longer, steps, total_steps(longer, per_epoch))


def steps_per_epoch(run: Run) -> int:
    """Steps of an epoch of a finished run; of one that ended within its first, as many as it made."""
    first = run.epochs()[:1]
    return int(first[0]["step"] if first else run.result()["step"])


def _longer(config: TrainConfig, more: int, steps: int, per_epoch: int) -> TrainConfig:
    if config.max_steps:
        return replace(config, max_steps=steps + more * per_epoch)
    return replace(config, epochs=config.epochs + more)


def _keep_last_file(run: Run, config: TrainConfig) -> None:
    for row in run.epochs():
        final = Path(row.get("lora_path") or "")
        if final.is_file() and final.stem == config.name:
            number = f"step{row['step']:08d}" if config.max_steps else f"{row['epoch']:06d}"
            kept = final.with_name(f"{config.name}-{number}.safetensors")
            with atomic_write(kept) as part:
                shutil.copyfile(final, part)
            run.set_epoch({**row, "lora_path": str(kept)})
