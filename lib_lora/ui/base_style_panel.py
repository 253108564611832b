"""Base style: what the checkpoint draws anyway, learned as a LoRA, to be subtracted from a style."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.errors import UserError
from lib_lora.jobs.views import FolderView, JobView, TrainView
from lib_lora.tools.base_style import (
    FRAMINGS,
    SUBJECTS,
    USUAL_FRAMINGS,
    framed,
    training_config,
    unframed,
)
from lib_lora.tools.made.spec import PictureSpec
from lib_lora.training.config import TrainConfig
from lib_lora.training.config import settings as config_settings
from lib_lora.training.presets import PRESETS, preset, usual_preset
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.choices import choices, lora_names, run_names
from lib_lora.ui.compat import SKIP
from lib_lora.ui.files import Pictures
from lib_lora.ui.generation import GenerationFields
from lib_lora.ui.job_view import newest, of_type, progress
from lib_lora.ui.lora_picture import LoraPictures
from lib_lora.ui.poll import Poller
from lib_lora.ui.values import lines
from lib_lora.workbench import Workbench
from lib_lora.workbench.base_style import BaseStyle

INTRO = (
    "A LoRA of a style also learns what the checkpoint draws anyway. Here the checkpoint draws pictures of its own, a "
    "second LoRA learns them, and is subtracted. Each step can be cancelled and goes on where it was."
)
STRENGTHS = {"usual": ("GP1", "GP2"), "strong: style too weak, or few steps": ("GP1_STRONG", "GP2_STRONG")}
SHOWN_PICTURES = 12
CANCELLED = "Cancelled; what is done stays, and the same button goes on from there."


class BaseStylePanel:
    """Three steps: pictures, training, formula."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench = workbench
        self.pictures = pictures
        self.of_loras = LoraPictures(workbench, pictures)
        self.loras = lora_names(workbench)
        self.runs = run_names(workbench)
        self.generation = GenerationFields("Base pictures", "lw_base")

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """What to draw, what to train like, and the formula that comes of it."""
        gr.HTML(f'<p class="lw-quiet">{INTRO}</p>')
        self._build_pictures()
        self._build_training()
        self.message = panel("lw_base_message")
        self.progress = panel("lw_base_progress")
        self.strip = panel("lw_base_pictures")

    def _build_pictures(self) -> None:
        names, info = self.workbench.host.checkpoints(), self.workbench.host.info()
        with gr.Row(elem_classes=["lw-fields"]):
            self.name = gr.Textbox(
                "BASE", label="Name of the base style", info="also of its LoRA", elem_id="lw_base_name"
            )
            self.checkpoint = gr.Dropdown(
                choices=names,
                value=info.name if info else None,
                label="Checkpoint that draws",
                elem_id="lw_base_checkpoint",
                interactive=True,
            )
            self.count = gr.Number(
                40, precision=0, label="Pictures", info="20 to 60 are usual", elem_id="lw_base_count", min_width=90
            )
            self.seed = gr.Number(1, precision=0, label="First seed", elem_id="lw_base_seed", min_width=90)
        with gr.Row(elem_classes=["lw-fields"]):
            self.framings = gr.CheckboxGroup(
                choices=list(FRAMINGS), value=list(USUAL_FRAMINGS), label="Framings", elem_id="lw_base_framings"
            )
            self.subjects = gr.Textbox(
                "\n".join(SUBJECTS),
                label="Subjects",
                info="one a line; each is drawn in each framing",
                lines=2,
                elem_id="lw_base_subjects",
            )
        self.generation.build(self.workbench.host)

    def _build_training(self) -> None:
        names, usual = [p.name for p in PRESETS], usual_preset(self.workbench.host.info()).name
        styles = [name for name in names if name.startswith("Style") and name.partition("·")[2] in usual]
        with gr.Row(elem_classes=["lw-fields"]):
            self.like = gr.Dropdown(
                choices=[*self.runs(), *names],
                value=next(iter(styles), usual),
                label="Train with the settings of",
                info="best the run of the style that it is subtracted from",
                elem_id="lw_base_like",
                interactive=True,
            )
            with self.of_loras.beside("lw_base_style") as self.picture:
                self.style = gr.Dropdown(
                    choices=self.loras(), value=None, label="Subtract it from", elem_id="lw_base_style",
                    interactive=True,
                )  # fmt: skip
            self.strength = gr.Dropdown(
                choices=list(STRENGTHS),
                value=next(iter(STRENGTHS)),
                label="Block weights",
                elem_id="lw_base_strength",
                interactive=True,
            )
        with gr.Row(elem_classes=["lw-actions"]):
            self.generate = gr.Button("1 · Generate pictures", variant="primary", elem_id="lw_base_generate")
            self.train = gr.Button("2 · Train the LoRA", elem_id="lw_base_train")
            self.subtract = gr.Button("3 · Subtract →", elem_id="lw_base_subtract")
            self.cancel = gr.Button("Cancel step", elem_id="lw_base_cancel", interactive=False)

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, poller: Poller) -> None:
        """Buttons, and what of the chosen base style changes by itself."""
        drawn = [self.count, self.seed, self.framings, self.subjects, *self.generation.components]
        begun = [self.checkpoint, *drawn]
        for trigger in (self.name.submit, self.name.blur):
            act(trigger, self.fill, [self.name], self.message, begun)
        act(self.generate.click, self.start_pictures, [self.name, *begun], self.message)
        act(self.train.click, self.start_training, [self.name, self.like], self.message)
        act(self.cancel.click, self.end, [self.name], self.message)
        shown = [self.progress, self.strip, self.generate, self.train, self.subtract, self.cancel]
        poller.keep(self.now, [*shown, self.like, self.style, self.picture], [self.name, self.like, self.style])

    @property
    def subtraction(self) -> list[Any]:
        """The fields that :meth:`formula` needs."""
        return [self.name, self.style, self.strength]

    @looks
    def fill(self, name: str) -> str | list[Any]:
        """The settings of pictures that were begun under this name, so that they can be gone on with."""
        begun = BaseStyle(self.workbench, name).spec()
        if begun is None:
            return NO_MESSAGE
        model, spec = begun
        subjects, framings = unframed(spec.prompts)
        settings = self.generation.values(spec.settings)
        return [NO_MESSAGE, model, spec.count, spec.seed, framings, "\n".join(subjects), *settings]

    @changes
    def start_pictures(
        self, name: str, checkpoint: str | None, count: float, seed: float, framings: list[str], subjects: str,
        *generation: Any,
    ) -> str:  # fmt: skip
        """Draw what is missing."""
        if not checkpoint:
            raise UserError("No checkpoint is chosen", where="Checkpoint that draws", fix="Choose one")
        if count is None or seed is None:
            raise UserError("A number is missing", where="Pictures or First seed", fix="For example 40 and 1")
        chosen = [framing for framing in FRAMINGS if framing in framings]
        prompts = framed(lines(subjects, where="Subjects"), chosen)
        spec = PictureSpec(prompts, int(count), self.generation.request(generation), int(seed))
        BaseStyle(self.workbench, name).generate(checkpoint, spec)
        return ""

    @changes
    def start_training(self, name: str, like: str) -> str:
        """Train with the settings of ``like``, a run or a preset."""
        base, settings = BaseStyle(self.workbench, name), self._settings(like)
        self._refuse_other_settings(base, settings)
        base.train(settings)
        return html.until_idle("Training. Its loss and samples are in the tab Train.")

    def formula(self, name: str, style: str | None, strength: str) -> str:
        """What subtracts the base style."""
        if not style:
            raise UserError("No style is chosen", where="Subtract it from", fix="Choose the LoRA of the style")
        return BaseStyle(self.workbench, name).formula(style, *STRENGTHS[strength])

    @changes
    def end(self, name: str) -> str:
        """Stop what is drawn or trained of it; what is done stays."""
        job = self._job(BaseStyle(self.workbench, name))
        if job is not None and not job.ended:
            self.workbench.queue.stop(job.id)
        return ""

    # -- what is shown ------------------------------------------------------------------------------------------------

    def now(self, name: str, like: str | None, style: str | None) -> list[Any]:
        """Updates of everything that follows the folder and the queue."""
        settings = choices([*self.runs(), *(p.name for p in PRESETS)], like)
        own = re.compile(rf"{re.escape((name or '').strip())}(-\d+)?")  # the base style itself, and its epochs
        picture = self.of_loras.of(style)
        styles = choices([lora for lora in self.loras() if not own.fullmatch(lora)], style, first=False)
        try:
            base = BaseStyle(self.workbench, name)
            begun, pictures, lora, run = base.spec(), base.pictures(), base.lora(), base.run()
        except UserError as error:
            return [html.error_message(error), "", *[SKIP] * 4, settings, styles, picture]
        total = begun[1].count if begun else 0
        drawn = 0 < total <= len(pictures)
        job = self._job(base)
        busy = job is not None and not job.ended
        half = run is not None and run.status != "finished" and lora is None and not busy
        go_on = "Go on generating" if 0 < len(pictures) < total else "Generate pictures"
        return [
            progress(job, cancelled=CANCELLED),
            self._strip(pictures, total),
            _step(f"1 · {go_on}", done=drawn, next_one=not drawn and lora is None and not busy),
            _step("2 · " + ("Go on training" if half else "Train the LoRA"), done=lora is not None,
                  next_one=drawn and lora is None and not busy),
            _step("3 · Subtract →", done=False, next_one=lora is not None),
            gr.update(interactive=busy),
            settings,
            styles,
            picture,
        ]  # fmt: skip

    def _strip(self, pictures: list[Path], total: int) -> str:
        if not pictures:
            return ""
        shown = "".join(html.picture(self.pictures.url(path), path.stem) for path in pictures[-SHOWN_PICTURES:])
        return f'<p class="lw-quiet">{len(pictures)} of {total} pictures</p><div class="lw-strip">{shown}</div>'

    # -- small parts --------------------------------------------------------------------------------------------------

    def _refuse_other_settings(self, base: BaseStyle, settings: TrainConfig) -> None:
        """A training that was begun goes on as it began; other settings would be ignored without a word."""
        run, begun = base.run(), base.spec()
        if run is None or run.status == "finished" or begun is None:
            return
        wanted = asdict(training_config(base.name, base.folder, settings, begun[0]))
        if other := [name for name, value in asdict(run.config()).items() if wanted[name] != value]:
            known = config_settings()
            labels = ", ".join(known[name].metadata["label"] for name in other[:4])
            fix = f"Delete the run {run.id} under Runs to start over, or choose {run.id} as the settings to go on"
            raise UserError("This training was begun with other settings", where=labels, fix=fix)

    def _settings(self, like: str) -> TrainConfig:
        """Of a run, or of a preset over the standard."""
        if like in self.runs():
            return self.workbench.runs.open(like).config()
        return preset(like).applied_to(TrainConfig())

    def _job(self, base: BaseStyle) -> JobView | None:
        """The newest step of this base style: its pictures, or its training."""
        run = base.run()
        queue = self.workbench.queue
        trainings = [job for job in of_type(queue, TrainView) if run and job.run == run.id]
        drawings = [job for job in of_type(queue, FolderView) if job.folder == base.folder]
        return newest([*drawings, *trainings])


def _step(text: str, *, done: bool, next_one: bool) -> Any:
    """A button's update: a tick when the step is done, and the colour of the next one to press."""
    return gr.update(value=f"✓ {text}" if done else text, variant="primary" if next_one else "secondary")
