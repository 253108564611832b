"""More epochs for a run that has finished."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from lib_lora.errors import UserError
from lib_lora.files import atomic_write
from lib_lora.training.config import TrainConfig
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
    longer = replace(config, epochs=config.epochs + more).check()
    _keep_last_epoch(run, config)
    run.extended(config.epochs)  # before config.toml: the saved state still has the hash of the shorter run
    run.reopen()
    run.write_config(longer)
    return longer


def rate_jump(config: TrainConfig, more: int, steps: int) -> tuple[float, float]:
    """The learning rate at the end of a run of ``steps`` steps, and where ``more`` epochs would begin.

    Both are factors of the rates in the settings.
    """
    longer = replace(config, epochs=config.epochs + more)
    total = steps * longer.epochs // config.epochs
    return lr_factor(config, steps - 1, steps), lr_factor(longer, steps, total)


def _keep_last_epoch(run: Run, config: TrainConfig) -> None:
    for row in run.epochs():
        final = Path(row["lora_path"] or "")
        if row["epoch"] == config.epochs and final.is_file() and final.stem == config.name:
            kept = final.with_name(f"{config.name}-{config.epochs:06d}.safetensors")
            with atomic_write(kept) as part:
                shutil.copyfile(final, part)
            run.set_epoch({**row, "lora_path": str(kept)})
