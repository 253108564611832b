"""What a run leaves on the disk while it trains: measured steps, LoRA files, states, and a row for each epoch.

The first of several processes writes; the others only watch for broken steps.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from lib_lora.training.events import EpochDone
from lib_lora.training.fixed_loss import epoch_losses
from lib_lora.training.meter import refuse_broken
from lib_lora.training.session import Session
from lib_lora.training.state import Position


def read_meter(session: Session) -> None:
    """Write down what was measured.

    Raises:
        Diverged: a step gave no number.
    """
    readings = session.meter.read()
    session.run.append_metrics([asdict(reading) for reading in readings])
    refuse_broken(readings, session.config.name)


def write_lora(session: Session, path: Path) -> Path:
    """A LoRA file of the present weights."""
    if session.parallel.leads:
        with session.averaging.shown():
            session.checkpoints.write(path, session.network, epoch=session.epoch, step=session.step)
        session.last_saved = path
    return path


def write_final(session: Session) -> Path:
    """The run's last file, where it was deleted after the run had finished before."""
    path = session.checkpoints.final_path
    return path if path.exists() else write_lora(session, path)


def save_state(session: Session) -> None:
    """All that it takes to go on from here."""
    read_meter(session)  # never save weights that a broken step has touched
    if session.parallel.leads:
        position = Position(session.step, session.data.fingerprint)
        session.slots.save(position, session.network, session.optimizer, session.averaging)


def end_epoch(session: Session) -> EpochDone | None:
    """Measure, and write the epoch's file, row and state; None where another process does."""
    read_meter(session)
    if not session.parallel.leads:
        return None
    epoch, config, data, files = session.epoch, session.config, session.data, session.checkpoints
    with session.averaging.shown():
        measured = epoch_losses(session.denoiser, data.batches, data.held_out, config)
    last = session.step == data.total
    path = None
    every = config.save_every_n_epochs
    if last or (every and epoch % every == 0):
        path = write_lora(session, files.final_path if last else files.epoch_path(epoch))
    running = session.run.mean_loss((epoch - 1) * data.steps_per_epoch)
    row = {"epoch": epoch, "step": session.step, "running_loss": running, **measured}
    session.run.add_epoch({**row, "lora_path": str(path) if path else None})
    save_state(session)  # last: a crash before this line repeats the end of the epoch, with the same result
    return EpochDone(epoch, session.step, running, measured["fixed_loss"], path)
