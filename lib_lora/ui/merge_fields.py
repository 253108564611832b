"""What every form asks that makes a LoRA out of others: how large, on which weights, for which program."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_lora.errors import UserError
from lib_lora.jobs.merge_jobs import LOADED_MODEL
from lib_lora.tools.convert import PROGRAMS
from lib_lora.tools.merge import Reduction
from lib_lora.workbench import Workbench

LOADED = "the loaded model"
ANY = "any program"
EXACT = "exact"
MOST_RANK = 4096


class ReductionFields:
    """Largest rank, and energy to keep.

    Args:
        prefix: of the element ids.
        title: distinguishes the labels of this panel from those of others.
        rank: what stands in the rank field at first.
    """

    def __init__(self, prefix: str, title: str, rank: str = EXACT):
        self.prefix, self.title, self.start = prefix, title, rank
        self.components: list[Any] = []

    def build(self) -> None:
        """Rank and energy; exact while both are empty."""
        rank = gr.Textbox(
            self.start,
            label=f"Rank of the {self.title}",
            elem_id=f"{self.prefix}_rank",
            scale=1,
            info="exact, or the largest rank of a layer",
        )
        energy = gr.Textbox(
            "",
            label=f"Quality that the {self.title} keeps",
            elem_id=f"{self.prefix}_energy",
            scale=1,
            info="empty, or such as 99 % (of Σσ²): each layer gets the rank it needs",
        )
        self.components = [rank, energy]

    def read(self, rank: str, energy: str) -> Reduction:
        """What the fields say; errors name the field."""
        return Reduction(rank_of(rank, where=f"Rank of the {self.title}"), energy_of(energy))


class BaseField:
    """The checkpoint on whose weights the change of a DoRA, GLoRA, IA3 or OFT depends.

    Args:
        prefix: of the element id.
        title: distinguishes the label of this form from those of others.
    """

    def __init__(self, workbench: Workbench, prefix: str, title: str = ""):
        self.workbench, self.prefix, self.title = workbench, prefix, title

    def build(self) -> gr.Dropdown:
        """The field, with the loaded model chosen."""
        return gr.Dropdown(
            choices=[LOADED, *self.workbench.host.checkpoints()],
            value=LOADED,
            label=f"Base weights{self.title}",
            info="what DoRA, GLoRA, IA3 and OFT act on; others need none",
            elem_id=f"{self.prefix}_base",
            interactive=True,
            scale=1,
        )

    @staticmethod
    def read(choice: str | None) -> str:
        """The checkpoint's name, or :data:`~lib_lora.jobs.merge_jobs.LOADED_MODEL`."""
        return LOADED_MODEL if choice in (None, "", LOADED) else choice


class ProgramField:
    """The program that a file is for.

    Args:
        elem_id, label: of the field.
    """

    def __init__(self, elem_id: str, label: str):
        self.elem_id, self.label = elem_id, label

    def build(self) -> gr.Dropdown:
        """The field, with any program chosen."""
        return gr.Dropdown(
            choices=[ANY, *(program.label for program in PROGRAMS.values())],
            value=ANY,
            label=self.label,
            info="only such layers as it applies; others become LoRA",
            elem_id=self.elem_id,
            interactive=True,
            scale=1,
        )

    @staticmethod
    def read(choice: str | None) -> str:
        """One of :data:`~lib_lora.tools.convert.PROGRAMS`; an empty text for any."""
        return next((key for key, program in PROGRAMS.items() if program.label == choice), "")


def rank_of(text: str, where: str = "Rank") -> int | None:
    """``"exact"`` is None; else a number from 1.

    Raises:
        UserError: it is neither.
    """
    text = str(text or EXACT).strip().lower()
    if text == EXACT:
        return None
    if not text.isdigit() or not 1 <= int(text) <= MOST_RANK:
        raise UserError(f"The rank cannot be {text!r}", where=where, fix='Use "exact" or a number such as 16')
    return int(text)


def energy_of(text: str) -> float | None:
    """``"99 %"`` and ``"0.99"`` are 0.99; empty is None.

    Raises:
        UserError: it is no share between 0 and 1.
    """
    text = str(text or "").strip().replace(",", ".")
    if not text:
        return None
    try:
        share = float(text.rstrip("% ")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UserError(f"The quality to keep cannot be {text!r}", where="Quality", fix="Write 99 % or 0.99")
    return share
