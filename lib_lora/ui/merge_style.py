"""Subtract a base style: a style LoRA without what the checkpoint draws anyway, by one button, seen beside itself."""

from __future__ import annotations

from typing import Any, Protocol

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.adapters.block_presets import load_presets
from lib_lora.adapters.blocks import presets_for
from lib_lora.adapters.file import LoraFile, open_lora
from lib_lora.adapters.formula import Term, render
from lib_lora.errors import UserError
from lib_lora.jobs.merge_jobs import LOADED_MODEL, MergeJob, MergePreviewJob
from lib_lora.tools.merge import Reduction
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.base_style_panel import STRENGTHS
from lib_lora.ui.choices import choices, lora_names
from lib_lora.ui.lora_picture import LoraPictures
from lib_lora.ui.merge_result import ResultPanel
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench

INTRO = (
    "A LoRA of a style also learns what the checkpoint draws anyway: its faces, its light, its colours. Subtract a "
    "LoRA of the checkpoint's own pictures, and what is left is the style."
)
WHOLE = "There are no such block weights for {}, so every block counts in full."
SAME = "These are the same LoRA: nothing would be left"


class Filling(Protocol):
    """The panel of rows and formula."""

    formula: Any
    shown: Any

    @property
    def filled(self) -> list[Any]:
        """The components that :meth:`fill_rows` gives values for."""

    def fill_rows(self, formula: str, shown: int) -> list[Any]:
        """Values of :attr:`filled` for a formula; ``shown``: rows in view."""


class StylePanel:
    """STYLE, BASE and one of the guide's two pairs of block weights."""

    way = "style"

    def __init__(self, workbench: Workbench, result: ResultPanel, of_loras: LoraPictures):
        self.workbench, self.result, self.of_loras = workbench, result, of_loras
        self.loras = lora_names(workbench)

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Style, base style and strength."""
        gr.HTML(f'<p class="lw-quiet">{INTRO}</p>', elem_classes=["lw-html"])
        with gr.Row(elem_classes=["lw-fields"]):
            self.style, self.style_picture = self._build_list("style", "Style", "the LoRA that is to be cleaned")
            self.base, self.base_picture = self._build_list(
                "base", "Base style", "a LoRA of the checkpoint's own pictures"
            )
        self.strength = gr.Radio(
            choices=list(STRENGTHS),
            value=next(iter(STRENGTHS)),
            label="How much of each block",
            elem_id="lw_style_strength",
        )
        self.formula_text = panel("lw_style_formula")
        with gr.Row(elem_classes=["lw-actions"]):
            self.go = gr.Button("Subtract and preview", variant="primary", elem_id="lw_style_go")
            self.rows = gr.Button("Open as formula →", elem_id="lw_style_rows")
            self.make = gr.Button("Make a base style →", elem_id="lw_style_make")
        self.message = panel("lw_style_message")

    def _build_list(self, key: str, label: str, info: str) -> tuple[Any, Any]:
        """A list of LoRAs, and the picture of the chosen one."""
        with self.of_loras.beside(f"lw_style_{key}") as picture:
            lora = gr.Dropdown(
                choices=self.loras(), value=None, label=label, info=info, elem_id=f"lw_style_{key}", interactive=True
            )
        return lora, picture

    @property
    def asking(self) -> list[Any]:
        """The fields that decide the result, in the order of :meth:`formula`."""
        return [self.style, self.base, self.strength]

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, poller: Poller, ways: gr.Tabs, rows: Filling) -> None:
        """``ways``: the tabs of Merge; ``rows``: the formula's."""
        self._fill = rows.fill_rows
        preview = [self.result.prompt, self.result.seed, *self.result.generation.components]
        filled = [self.result.prompt, *self.result.generation.components]
        for field in self.asking:
            act(field.change, self.check, self.asking, self.message, [self.formula_text])
        act(self.go.click, self.start, [*self.asking, *preview], self.message, filled)
        shown = [rows.formula, *rows.filled, ways]
        act(self.rows.click, self.to_rows, [*self.asking, rows.shown], self.message, shown)
        act(self.make.click, self.to_base_style, [], self.message, [ways])
        shown = [self.style, self.base, self.style_picture, self.base_picture]
        poller.keep(self.now, shown, [self.style, self.base])

    @looks
    def check(self, style: str | None, base: str | None, strength: str) -> list[Any]:
        """What is wrong with the choice, at once; and what it is as a formula."""
        if not style or not base:
            return [NO_MESSAGE, ""]
        text = self.formula(style, base, strength)
        said = self._doubts(style, base)
        note = "" if self._pair(style, strength)[0] else f" {WHOLE.format(self._file(style).family.short)}"
        return [html.message(said, html.WARNING), f'<p class="lw-quiet">= <code>{html.escape(text)}</code>{note}</p>']

    def formula(self, style: str | None, base: str | None, strength: str) -> str:
        """``STYLE:1:GP1,BASE:-1:GP2``; without block weights where there are none for the style's family.

        Raises:
            UserError: one of them is missing, or both are the same.
        """
        if not style:
            raise UserError("No style is chosen", where="Style", fix="Choose the LoRA of the style")
        if not base:
            raise UserError("No base style is chosen", where="Base style", fix="Choose its LoRA, or make one")
        if style == base:
            raise UserError(SAME, where="Base style", fix="Choose another one")
        keep, subtract = self._pair(style, strength)
        return render([Term(style, 1.0, keep), Term(base, -1.0, subtract)])

    @changes
    def start(
        self, style: str | None, base: str | None, strength: str, prompt: str, seed: float | None, *generation: Any
    ) -> list[Any]:
        """Queue the merge and, after it, the pictures: without both, the style alone, and without its base."""
        formula = self.formula(style, base, strength)
        assert style is not None
        prompt = prompt.strip() or self.result.suggested_prompt(style)
        sized = self.result.size_for(self.workbench.lora_path(style))
        values = [new.get("value", old) for new, old in zip(sized, generation, strict=True)]
        request = self.result.request(values, prompt, seed)
        queue, presets = self.workbench.queue, self.workbench.host.paths.places.block_presets
        name = f"{style.rsplit('/')[-1]}-clean"
        job = MergeJob(queue, formula, Reduction(), presets, LOADED_MODEL, name)
        drawing = MergePreviewJob(queue, job, request, self.workbench.lora_path(style))
        self.result.remember(queue.submit(job), self.way, style, base, strength)
        queue.submit(drawing)
        return [NO_MESSAGE, prompt, *sized]

    @looks
    def to_rows(self, style: str | None, base: str | None, strength: str, shown: int) -> list[Any]:
        """Take the formula over into the rows."""
        formula = self.formula(style, base, strength)
        message, *cells = self._fill(formula, shown)
        return [message, formula, *cells, gr.update(selected="formula")]

    @looks
    def to_base_style(self) -> list[Any]:
        """Show where a base style is made."""
        return [NO_MESSAGE, gr.update(selected="base")]

    def now(self, style: str | None, base: str | None) -> list[Any]:
        """The LoRAs there are; what is chosen stays, and is shown."""
        names, chosen = self.loras(), (style, base)
        return [*(choices(names, name, first=False) for name in chosen), *map(self.of_loras.of, chosen)]

    # -- small parts --------------------------------------------------------------------------------------------------

    def _pair(self, style: str, strength: str) -> tuple[str, str] | tuple[None, None]:
        """Names of the block weights; None where neither the program nor the user has a form for the style's family."""
        pair, file = STRENGTHS[strength], self._file(style)
        presets = load_presets(self.workbench.host.paths.places.block_presets)
        return pair if not file.families or {*pair} <= {*presets_for(file.family, presets)} else (None, None)

    def _file(self, name: str) -> LoraFile:
        return open_lora(self.workbench.lora_path(name))

    def _doubts(self, style: str, base: str) -> str:
        """What makes a subtraction senseless, from both headers."""
        first, second = (self._file(name) for name in (style, base))
        if first.families and second.families and first.family is not second.family:
            return f"{style} is for {first.family}, {base} for {second.family}: they have no layer in common."
        made_on = [file.metadata.get("ss_sd_model_name", "") for file in (first, second)]
        if all(made_on) and made_on[0] != made_on[1]:
            return (
                f"{style} was trained on {made_on[0]}, {base} on {made_on[1]}: the base style is of another checkpoint."
            )
        return ""
