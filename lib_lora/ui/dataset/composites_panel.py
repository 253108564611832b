"""Pictures of two or three subjects from those of one, and the runs that learn from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.pictures.composite_captions import PLACES, with_sides
from lib_lora.dataset.pictures.composites import CompositeOptions
from lib_lora.dataset.scan import CONCEPT_NAME
from lib_lora.errors import UserError
from lib_lora.tools.subject_prompts import with_prompts
from lib_lora.tools.two_subjects import (
    APART,
    COMPOSITES,
    in_small,
    joint_config,
    places_configs,
    plan_joint,
    plan_stages,
    stage_configs,
)
from lib_lora.training.config import TrainConfig
from lib_lora.training.presets import MINIATURE, usual_preset
from lib_lora.ui import html
from lib_lora.ui.actions import panel
from lib_lora.ui.dataset.pages import Connector
from lib_lora.ui.dataset.panel import Panel

PLACES_FIRST = "places first (two runs over all pictures)"
JOINT, STAGES = "one joint run (beside the singles)", "two stages (singles first)"
TEMPLATE = "CharLeft/CharRight/COMPOSITE, People, TagsLeft, TagsRight"


class CompositesPanel(Panel):
    """Options, the dry run, then the runs."""

    name, key = "Composites", "composites"

    def build(self) -> None:
        """Subjects, how they are joined, and the run that is to be queued."""
        with gr.Row(elem_classes=["lw-fields"]):
            self.subjects = gr.Textbox(
                label="Composite subjects",
                info="Folder = activation tag, one a line; empty: each N_tag folder",
                lines=2,
                elem_id="lw_ds_subjects",
                scale=2,
            )
            self.people = gr.Dropdown(
                choices=[str(n) for n in PLACES],
                value="2",
                label="Subjects in each picture",
                elem_id="lw_ds_people",
                interactive=True,
            )
            self.share = gr.Slider(
                0.05,
                0.8,
                value=0.65,
                step=0.05,
                label="Share of the set",
                info="Places first: 0.6 to 0.75; else 0.2 to 0.4",
                elem_id="lw_ds_share",
            )
            self.ratio = gr.Number(
                value=0,
                label="Width ÷ height",
                info="0: as the parts give it; else padded",
                elem_id="lw_ds_joined_ratio",
            )
        with gr.Row(elem_classes=["lw-fields"]):
            self.template = gr.Textbox(
                value="",
                placeholder=TEMPLATE,
                label="Composite caption",
                info="Empty: as shown; places first: CharLeft left, CharRight right, …; People: 2girls, or 1girl, 1boy",
                elem_id="lw_ds_template",
                scale=2,
            )
            self.how = gr.Dropdown(
                choices=[PLACES_FIRST, JOINT, STAGES],
                value=PLACES_FIRST,
                label="Training",
                elem_id="lw_ds_how",
                interactive=True,
                scale=2,
            )
            self.regularisation = gr.Slider(
                0,
                0.8,
                value=0.2,
                step=0.05,
                label="Single subjects in stage 2 (share)",
                elem_id="lw_ds_regularisation",
                visible=False,
            )
            self.seed = gr.Number(value=0, precision=0, label="Seed of the draw", elem_id="lw_ds_seed")
        with gr.Row(elem_classes=["lw-actions"]):
            self.plan = gr.Button("Make composites …", variant="primary", elem_id="lw_ds_compose")
        self.message = panel("lw_ds_compose_message")
        with gr.Row(elem_classes=["lw-fields", "lw-tight"]):
            self.run_name = gr.Textbox(label="Name of the LoRA", elem_id="lw_ds_run_name")
            self.epochs = gr.Number(value=40, precision=0, label="Epochs of each run", elem_id="lw_ds_run_epochs")
            self.resolution = gr.Number(
                value=0,
                precision=0,
                label="Resolution of the runs (px)",
                info="0: 640, in a second stage 768",
                elem_id="lw_ds_run_resolution",
            )
            self.queue = gr.Button("Queue the training", elem_id="lw_ds_run_queue")
        self.queued = panel("lw_ds_queued")

    def connect(self, on: Connector) -> None:
        """The dry run, and the queue."""
        on.listen(self.how.change, self.suited, [self.how], [self.regularisation])
        fields = [self.subjects, self.people, self.share, self.ratio, self.template, self.seed]
        on(self.plan.click, self.do_plan, [*fields, self.how, self.regularisation], self.message)
        on.act(self.queue.click, self.do_queue, [self.run_name, self.epochs, self.resolution, self.how], self.queued)

    @looks
    def suited(self, how: str) -> Any:
        """The share of the second stage, where there is one."""
        return gr.update(visible=how == STAGES)

    @changes
    def do_plan(
        self, subjects: str, people: str, share: float, ratio: float | None, template: str, seed: float | None,
        how: str, regularisation: float,
    ) -> str:  # fmt: skip
        """Dry run: pictures of several subjects side by side."""
        template = (template or "").strip() or (with_sides(int(people)) if how == PLACES_FIRST else "")
        options = CompositeOptions(int(people), share, ratio or 0.0, template, int(seed or 0))
        found, root = self.pictures_of(subjects or "", int(people)), self.session.opened().folders[0]
        if how == STAGES:
            return html.message(self.session.propose(plan_stages(found, root, options, regularisation)))
        return html.message(self.session.propose(plan_joint(found, root, options)))

    @changes
    def do_queue(self, name: str, epochs: float | None, resolution: float | None, how: str) -> str:
        """Queue the training, or the two, that the composites are for."""
        root = self.session.opened().folders[0]
        folder = root / APART / COMPOSITES if how == STAGES else root / COMPOSITES
        if not folder.is_dir():
            raise UserError("The composites are not made yet", where=folder, fix="Press “Make composites”, then Apply")
        usual = usual_preset(self.session.workbench.host.info())
        small = usual.name == MINIATURE
        side = int(resolution or (usual.values["resolution"] if small else 0))
        values = {"epochs": int(epochs or 40)} | ({"resolution": side} if side else {})
        configs = self._configs((name or "").strip(), root, how, values)
        if small and how == PLACES_FIRST:
            configs = [in_small(config, usual.values, folder) for config in configs]
            configs = [replace(config, resolution=side) for config in configs] if resolution else configs
        singles = [picture for picture in self.session.opened().pictures if picture.folder.name != COMPOSITES]
        literal = self.session.workbench.host.literal
        for config in configs:
            self.session.workbench.start_training(with_prompts(config, folder, singles, literal))
        return html.until_idle(f"In the queue: {', then '.join(config.name for config in configs)}. See Train.")

    def pictures_of(self, subjects: str, people: int = min(PLACES)) -> dict[str, list[Picture]]:
        """Activation tag -> pictures, from ``folder = tag`` lines or from folders named ``N_tag``.

        Args:
            people: subjects that are needed.

        Raises:
            UserError: a line cannot be read, or folders without such a name leave too few.
        """
        folders: dict[Path, list[Picture]] = {}
        for picture in self.session.opened().pictures:
            folders.setdefault(picture.folder, []).append(picture)
        if not subjects.strip():
            named = {folder: CONCEPT_NAME.fullmatch(folder.name) for folder in folders}
            found = {m[2]: folders[f] for f, m in named.items() if m and f.name != COMPOSITES}
            unnamed = [folder.name for folder, match in named.items() if not match]
            if len(found) < people and unnamed:
                fix = f"Name it like 5_tag, or type here which tag belongs to which folder, such as {unnamed[0]} = tag"
                what = f"It is not known whom these folders show: {', '.join(unnamed)}"
                raise UserError(what, where="Composite subjects", fix=fix)
            return found
        found = {}
        for line in filter(None, map(str.strip, subjects.splitlines())):
            folder, _, tag = (part.strip() for part in line.partition("="))
            match = [pictures for path, pictures in folders.items() if path.name == folder]
            if not match or not tag:
                known = ", ".join(path.name for path in folders)
                raise UserError(
                    f"{line!r} names no folder and tag", where="Composite subjects", fix=f"Folders are {known}"
                )
            found[tag] = match[0]
        return found

    def _configs(self, name: str, root: Path, how: str, values: dict[str, object]) -> list[TrainConfig]:
        if not name:
            raise UserError("The LoRA needs a name", where="Name of the LoRA", fix="Type one")
        if how == JOINT:
            return [joint_config(name, root, **values)]
        stages = (stage_configs if how == STAGES else places_configs)(name, root, **values)
        return [stages.first, stages.second]
