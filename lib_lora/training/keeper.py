"""What a run leaves on the disk while it trains: measured steps, LoRA files, states, and a row for each epoch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from lib_lora.training.checkpoints import Checkpoints
from lib_lora.training.events import EpochDone
from lib_lora.training.fixed_loss import epoch_losses
from lib_lora.training.meter import Meter, refuse_broken
from lib_lora.training.parallel import Parallel
from lib_lora.training.run import Run
from lib_lora.training.run_data import RunData
from lib_lora.training.state import Position, StateSlots
from lib_lora.training.update import Update


class Keeper:
    """Writes for one run, if this process leads; the others only watch for broken steps.

    Args:
        run: its folder.
        state, checkpoints: where states and LoRA files go.
        meter: holds the steps that have not been looked at.
        data: what is learned from.
        update: has the network, its optimizer and its averages.
        parallel: this process's place.
    """

    def __init__(
        self,
        run: Run,
        state: StateSlots,
        checkpoints: Checkpoints,
        meter: Meter,
        data: RunData,
        update: Update,
        parallel: Parallel,
    ):
        self.run, self.state, self.checkpoints, self.meter = run, state, checkpoints, meter
        self.data, self.parallel = data, parallel
        self.update: Update | None = update
        self.last_saved: Path | None = None

    def epoch_of(self, step: int) -> int:
        """The epoch, from 1, that the last of ``step`` finished steps belongs to."""
        return max(0, step - 1) // self.data.steps_per_epoch + 1

    def read_meter(self) -> None:
        """Write down what was measured.

        Raises:
            Diverged: a step gave no number.
        """
        readings = self.meter.read()
        self.run.append_metrics([asdict(reading) for reading in readings])
        refuse_broken(readings, self.update.config.name)

    def write_lora(self, path: Path, step: int) -> Path:
        """A LoRA file of the present weights."""
        if self.parallel.leads:
            with self.update.averaging.shown():
                network, epoch = self.update.network, self.epoch_of(step)
                self.last_saved = self.checkpoints.write(path, network, epoch=epoch, step=step)
        return path

    def write_final(self, step: int) -> Path:
        """The run's last file, where it was deleted after the run had finished before."""
        path = self.checkpoints.final_path
        return path if path.exists() else self.write_lora(path, step)

    def save_state(self, step: int) -> None:
        """All that it takes to go on from here."""
        self.read_meter()  # never save weights that a broken step has touched
        if self.parallel.leads:
            update, position = self.update, Position(step, self.data.fingerprint)
            self.state.save(position, update.network, update.optimizer, update.averaging)

    def end_epoch(self, step: int) -> EpochDone | None:
        """Measure, and write the epoch's file, row and state; None where another process does."""
        self.read_meter()
        if not self.parallel.leads:
            return None
        epoch, config = self.epoch_of(step), self.update.config
        with self.update.averaging.shown():
            measured = epoch_losses(self.update.denoiser, self.data.batches, self.data.held_out, config)
        last = step == self.data.total
        path = None
        if last or epoch % config.save_every_n_epochs == 0:
            path = self.write_lora(self.checkpoints.final_path if last else self.checkpoints.epoch_path(epoch), step)
        running = self.run.mean_loss((epoch - 1) * self.data.steps_per_epoch)
        row = {"epoch": epoch, "step": step, "running_loss": running, **measured}
        self.run.add_epoch({**row, "lora_path": str(path) if path else None})
        self.save_state(step)  # last: a crash before this line repeats the end of the epoch, with the same result
        return EpochDone(epoch, step, running, row["fixed_loss"], path)
