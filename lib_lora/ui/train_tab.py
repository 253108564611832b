"""Train: choose, check, start, watch."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import time_ns
from typing import Any

import gradio as gr

from lib_lora.access import around, changes, looks
from lib_lora.errors import UserError
from lib_lora.jobs.sweep_job import SweepGridJob
from lib_lora.jobs.views import GridView
from lib_lora.training.config import TrainConfig
from lib_lora.training.optimizers import needed_package
from lib_lora.training.own_presets import OwnPresets
from lib_lora.training.presets import Preset, usual_preset
from lib_lora.ui import form, html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.card_panel import CardPanel
from lib_lora.ui.check_panel import check_panel
from lib_lora.ui.compat import SKIP, listen
from lib_lora.ui.curves import curves
from lib_lora.ui.draft import Draft
from lib_lora.ui.files import Pictures
from lib_lora.ui.folder_picker import FolderPicker, places_of
from lib_lora.ui.form import SettingsForm
from lib_lora.ui.job_view import newest, of_type
from lib_lora.ui.packages_panel import PackageOffer
from lib_lora.ui.poll import Poller
from lib_lora.ui.slider_panel import SliderPanel
from lib_lora.ui.train_configs import ConfigPanel
from lib_lora.ui.train_live import LivePanel, while_training
from lib_lora.ui.train_queue import WaitingList
from lib_lora.ui.train_set import SetFields
from lib_lora.workbench import Workbench

# puts what was kept into the fields, but into none that its user has been typing into meanwhile
FILL = "(kept, ...now) => window.loraWorkbench.fill(kept, now.slice(0, {count}))"  # gradio 3 appends the outputs


class TrainTab:
    """A form, what it would do, the queue, and the running training."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench = workbench
        self.pictures = pictures
        places = workbench.host.paths.places
        self.form = SettingsForm(self._prediction)
        self.presets = OwnPresets(places.presets)
        self.draft = Draft(places.draft)
        self.of_set = SetFields(workbench, self.form)
        self.configs = ConfigPanel(self.form, self.presets, self._family, workbench.host.paths.lora_folders)
        self.waiting = WaitingList(workbench, self.form)
        self.live = LivePanel(workbench, pictures)
        self.slider = SliderPanel(workbench)
        self.picker = FolderPicker(lambda: places_of(workbench))
        self.card = CardPanel(workbench)
        self.package = PackageOffer("This optimizer", needed_package, "lw_train_package")

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """The form on the left, what runs on the right."""
        first = self._first_preset()
        start = first.applied_to(TrainConfig())
        with gr.Row(elem_classes=["lw-desk"]):
            with gr.Column(scale=5, min_width=420, elem_classes=["lw-controls"]):
                self._build_settings(first, start)
                self._build_actions()
            with gr.Column(scale=4, min_width=340, elem_classes=["lw-look"]):
                self.report = panel("lw_train_report")
                self.live.build()
                self.waiting.build()
                self.sweep = panel("lw_train_sweep_grid")

    def _build_settings(self, first: Preset, start: TrainConfig) -> None:
        with gr.Row(elem_classes=["lw-fields", "lw-folder"]):
            self.form.basic("data_dir", start)
            self.picker.build_button()
        self.picker.build_list()
        with gr.Row(elem_classes=["lw-fields"]):
            self.form.basic("name", start)
            self.form.basic("trigger", start)
        with gr.Row(elem_classes=["lw-fields"]):
            self.preset = gr.Dropdown(
                choices=self.presets.names(),
                value=first.name,
                label="Preset",
                info=first.why,
                elem_id="lw_train_preset",
                interactive=True,
            )
            self.form.basic("epochs", start)
        for row in (("repeats", "batch_size", "resolution"), ("rank", "alpha", "unet_lr"), ("sample_prompts",)):
            with gr.Row(elem_classes=["lw-fields"]):
                for name in row:
                    self.form.basic(name, start)
        self.package.build(start.optimizer)
        with gr.Accordion("More settings", open=False, elem_id="lw_train_more"):
            self.form.more(start)
        with gr.Accordion("Import, export and own presets", open=False, elem_id="lw_train_configs"):
            self.configs.build()
        self.changes = panel("lw_train_changes", self.form.noted(start, self.form.values(start)))
        self.form.bind(self.preset, self.changes, self._baseline, self.draft)
        self.found = gr.Textbox("", label="Settings kept", elem_id="lw_train_kept", elem_classes=["lw-hidden"])

    def _build_actions(self) -> None:
        with gr.Column(elem_classes=["lw-foot"]):
            self.message = panel("lw_train_message")
            self.fault = panel("lw_train_fault")
            with gr.Row(elem_classes=["lw-actions"]):
                self.check = gr.Button("Check", elem_id="lw_train_check")
                self.start = gr.Button("Start training", variant="primary", elem_id="lw_train_start")
                self.queue = gr.Button("Add to queue", elem_id="lw_train_queue")
        with gr.Accordion("Variants: try several values of a setting", open=False, elem_id="lw_train_sweep"):
            self.varied = gr.Textbox(
                value="",
                label="Variants",
                info="one setting a line; every combination is trained, then one grid shows them side by side",
                placeholder="rank = 4, 8, 16\nunet_lr = 1e-4, 5e-4",
                lines=2,
                elem_id="lw_train_variants",
            )
            self.add_variants = gr.Button("Queue all variants", elem_id="lw_train_add_variants", size="sm")
        self.card.build()
        self.slider.build()

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, page: gr.Blocks, poller: Poller, tabs: gr.Tabs, grid_run: gr.Dropdown) -> None:
        """``grid_run``: the run that the epoch grid shows; the link to it carries ours along."""
        self.form.connect()
        self.package.connect([self.form.fields["optimizer"]])
        self.configs.connect(self.preset)
        self.of_set.after_folder(self.picker.connect(self.form.fields["data_dir"]))
        self.of_set.connect(self.form.typing)
        listen(self.preset.change, self.describe, [self.preset], [self.preset])
        values = self.form.inputs
        fields = [self.preset, *values]
        loaded = listen(page.load, self.last_settings, [], [self.found, self.preset, self.changes, *self.form.curves])
        listen(loaded.then, None, [self.found, *fields], fields, js=FILL.format(count=len(fields)))
        outputs = [self.fault, self.report]
        busy = "Checking: reading the folder and timing one step …"
        act(self.check.click, self._guard(self.run_check), values, self.message, outputs, busy=busy)
        act(self.start.click, self._guard(self.run_start), values, self.message, outputs)
        act(self.queue.click, self._guard(self.run_queue), values, self.message, outputs)
        act(self.add_variants.click, self._guard(self.run_variants), [self.varied, *values], self.message, outputs)
        self.slider.connect(poller)
        self.waiting.connect(poller, self.message, self._guard, self.fault)
        self.live.connect(poller, self.message, tabs, grid_run, self.form.fields["data_dir"])
        self.card.connect(poller)
        poller.keep(lambda: [self.sweep_grid()], [self.sweep])

    @changes
    def run_check(self, *values: Any) -> list[Any]:
        """What training with these settings will do; takes about two steps' time."""
        config, before = self.form.config(values), self.live.job()
        report = check_panel(self.workbench.check(config)) + curves(config)
        begun = (now := self.live.job()) is not None and (before is None or now.id != before.id)
        return [NO_MESSAGE, "", "" if begun else report]  # who has started meanwhile looks at the training

    @changes
    def run_start(self, *values: Any) -> list[Any]:
        """Begin now; UserError while something else runs."""
        current = self.workbench.queue.current()
        if current is not None:
            raise UserError(f"{current.title} is running", fix="Use “Add to queue” to start after it")
        self.workbench.start_training(self.form.config(values))
        return [while_training("Started. You can close this page, training goes on."), "", ""]

    @changes
    def run_queue(self, *values: Any) -> list[Any]:
        """Begin after all that waits."""
        job = self.workbench.queue.view(self.workbench.start_training(self.form.config(values)))
        before = sum(not other.ended for other in self.workbench.queue.jobs()) - 1
        text = f"{job.title} is in the queue, {html.plural(before, 'job')} before it." if before else "Started."
        return [html.until_idle(text), "", ""]

    @changes
    def run_variants(self, text: str, *values: Any) -> list[Any]:
        """Queue a run for each combination, and a grid of them."""
        jobs = self.workbench.start_variants(self.form.config(values), text or "")
        what = f"{html.plural(len(jobs) - 1, 'run')} and a grid of them are in the queue."
        return [html.until_idle(what), "", ""]

    def sweep_grid(self) -> str:
        """The grid of the newest sweep of this session, when it is done."""
        jobs = of_type(self.workbench.queue, GridView)
        job = newest([job for job in jobs if job.kind == SweepGridJob.kind and job.ended])
        if job is None:
            return ""
        if job.error:
            return html.job_error(job.error)
        return html.sheet(self.pictures.url(job.sheet), job.title) if job.sheet else ""

    @looks
    def last_settings(self) -> list[Any]:
        """Preset and fields as JSON, the presets, and what is said about the fields.

        As they were left, here or in another window; else those of the newest training; else those of the usual preset
        for the model that is there now, which need not be the one of when the page was built. With the folder of a set
        that was opened meanwhile.
        """
        preset, values = self._kept() or self._carried(*(self._newest() or self._usual()))
        names = gr.update(choices=self.presets.names())  # an open page knows those of when the program started
        shown = dict(zip(self.form.names, values, strict=True))
        self.of_set.know(shown["data_dir"] or "", shown["trigger"] or "")
        ids = [component.elem_id for component in (self.preset, *self.form.inputs)]
        kept = json.dumps(dict(zip(ids, (preset, *values), strict=True)))
        return [kept, names, *self.form.described(self._baseline(preset), values)]

    def _kept(self) -> tuple[str, list[Any]] | None:
        draft = self.draft.load()
        if draft is None:
            return None
        preset, values = draft
        default = self._first_preset()
        known = preset if preset in self.presets.names() else default.name
        base = self.form.values(default.applied_to(TrainConfig()))
        return known, [values.get(name, usual) for name, usual in zip(self.form.names, base, strict=True)]

    def _newest(self) -> tuple[str, list[Any]] | None:
        job = self.live.job()
        try:
            config = self.workbench.runs.open(job.run).config() if job else None
        except UserError:
            return None
        return (self._first_preset().name, self.form.values(config)) if config else None

    def _usual(self) -> tuple[str, list[Any]]:
        first = self._first_preset()
        return first.name, self.form.values(first.applied_to(TrainConfig()))

    def _carried(self, preset: str, values: list[Any]) -> tuple[str, list[Any]]:
        """The same with the folder that was opened, and what it proposed."""
        shown = dict(zip(self.form.names, values, strict=True))
        return preset, list((shown | self.of_set.carried).values())

    # -- small parts --------------------------------------------------------------------------------------------------

    def _guard(self, fn: Callable[..., list[Any]], rest: int = 1) -> Callable[..., list[Any]]:
        """Mistakes in fields are shown at the fields too, all at once; ``rest`` further outputs stay as they are."""

        @around(fn)
        def run(*values: Any) -> list[Any]:
            try:
                return fn(*values)
            except UserError as error:
                faults = self.form.faults(values[-len(self.form.names) :])
                gone = any(one.where in form.FOLDERS for one in faults)  # then the error names its path, not the field
                errors = (faults if gone or form.field_of(error) else []) or [error]
                said = "".join(html.error_message(form.in_words(one)) for one in errors)
                frames = "".join(map(form.fault, errors))  # said again they are others, see `actions.act`
                return [said, f"{frames}<!-- {time_ns()} -->" if frames else "", *[SKIP] * rest]

        return run

    @looks
    def describe(self, name: str) -> Any:
        """What the preset is for, below it."""
        found = self._find(name)
        return gr.update(info=found.why if found else "")

    def _baseline(self, name: str) -> TrainConfig:
        """The settings of a preset; the defaults where it was deleted in another window."""
        found = self._find(name)
        return found.applied_to(TrainConfig()) if found else TrainConfig()

    def _find(self, name: str) -> Preset | None:
        """None where it was deleted in another window, or its file is damaged, which :mod:`ui.faults` says."""
        try:
            return self.presets.find(name) if name in self.presets.names() else None
        except UserError:
            return None

    def _family(self) -> str:
        model = self.workbench.host.info()
        return model.family if model is not None else ""

    def _prediction(self) -> str:
        model = self.workbench.host.info()
        return model.prediction if model is not None else ""

    def _first_preset(self) -> Preset:
        return usual_preset(self.workbench.host.info())
