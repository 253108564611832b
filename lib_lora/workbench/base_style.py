"""The base style step by step: pictures of the model's own, a LoRA of them, and the formula that subtracts it.

Where one has got to is read from the disk, so every step goes on after a cancel, a crash or a restart.
"""

from __future__ import annotations

from pathlib import Path

from lib_lora.adapters.formula import Term, render
from lib_lora.errors import UserError
from lib_lora.lora_files import list_loras
from lib_lora.tools.base_style import training_config
from lib_lora.tools.made.drawing import is_complete, pictures_in
from lib_lora.training.config import TrainConfig
from lib_lora.training.run import Run
from lib_lora.workbench.made import Drawing


class BaseStyle(Drawing):
    """One base style, whose name is also that of its LoRA."""

    place, field = "base_styles", "Name"

    def pictures(self) -> list[Path]:
        """Those that are there."""
        return pictures_in(self.folder)

    def lora(self) -> Path | None:
        """The trained LoRA."""
        return list_loras(self.workbench.host.paths.lora_folders).get(self.name)

    def run(self) -> Run | None:
        """Its newest training."""
        runs = self.workbench.runs.named(self.name)
        return next((run for run in runs if Path(run.config().data_dir) == self.folder), None)

    def train(self, like: TrainConfig) -> int:
        """Queue the training, or what is left of one that was stopped; returns the job's id.

        Args:
            like: settings to train with.

        Raises:
            UserError: pictures are missing, or the LoRA is there already.
        """
        begun = self.spec()
        if begun is None or not is_complete(self.folder, begun[1]):
            raise UserError("The pictures are not complete", where=self.name, fix="Generate them first.")
        run = self.run()
        if run is not None and run.status != "finished":
            return self.workbench.resume(run.id)
        model, _ = begun
        return self.workbench.start_training(training_config(self.name, self.folder, like, model))

    def formula(self, style: str, keep: str, subtract: str) -> str:
        """``STYLE:1:GP1,BASE:-1:GP2``.

        Raises:
            UserError: the LoRA is not trained yet.
        """
        if self.lora() is None:
            raise UserError(f"There is no LoRA {self.name} yet", where="base style", fix="Train it first.")
        return render([Term(style, 1.0, keep), Term(self.name, -1.0, subtract)])
