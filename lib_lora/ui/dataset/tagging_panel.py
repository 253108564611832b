"""Tags by a model, as a job; the result is a dry run like any other change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from lib_lora.access import admit_install, changes, looks
from lib_lora.dataset.caption import split_tags
from lib_lora.dataset.tagging.choice import NO_CHARACTER, TagChoice, balanced_threshold
from lib_lora.dataset.tagging.download import MEGABYTES, NAME, download_tagger
from lib_lora.dataset.tagging.host_tagger import HostTagger
from lib_lora.dataset.tagging.labels import CSV_NAME, JSON_NAME
from lib_lora.dataset.tagging.onnx_model import MODEL_NAME, OnnxTagger
from lib_lora.dataset.tagging.run import APPEND, MISSING, REPLACE, Tagger, chosen, plan_tagging, tag_pictures
from lib_lora.errors import UserError
from lib_lora.packages import ONNX, Package
from lib_lora.ui import html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.dataset.pages import Connector
from lib_lora.ui.dataset.panel import Panel
from lib_lora.ui.packages_panel import PackageOffer

NO_TAGGER = (
    "No tagger yet. Download one here. Or put model.onnx and selected_tags.csv of another, such as "
    "SmilingWolf/wd-eva02-large-tagger-v3 on huggingface.co, into a folder of its own in {}, then look for taggers "
    "again."
)
LOADING = "Downloading it from huggingface.co; this takes minutes, and you can go on meanwhile …"
MODES = {"only images without tags": MISSING, "add to the tags that are there": APPEND, "replace all tags": REPLACE}


class TaggingPanel(Panel):
    """Model, thresholds, what to do with the result."""

    name, key = "Tagging", "tagging"

    def build(self) -> None:
        """The tagger, its thresholds, and how to get one."""
        names = self.model_names()
        with gr.Row(elem_classes=["lw-fields"]):
            self.model = gr.Dropdown(
                choices=names,
                value=names[0] if names else None,
                label="Tagger",
                info="Of the data folder's taggers, or the web UI's own",
                elem_id="lw_ds_tagger",
                interactive=True,
            )
            self.folder = gr.Textbox(
                label="Tagger folder",
                info="Or any folder with model.onnx and selected_tags.csv",
                elem_id="lw_ds_tagger_folder",
            )
            self.threshold = gr.Slider(0, 1, value=0.35, step=0.01, label="Threshold", elem_id="lw_ds_threshold")
            self.characters = gr.Slider(
                0,
                1,
                value=0.85,
                step=0.01,
                label="Character threshold",
                info="Higher than the other: a wrong name is worse than none",
                elem_id="lw_ds_characters",
            )
        with gr.Row(elem_classes=["lw-fields"]):
            self.mode = gr.Dropdown(
                choices=list(MODES), value=next(iter(MODES)), label="Write", elem_id="lw_ds_mode", interactive=True
            )
            self.exclude = gr.Textbox(label="Never take", placeholder="simple background", elem_id="lw_ds_exclude")
            self.named = gr.Checkbox(value=True, label="Character tags", elem_id="lw_ds_named")
            self.mcut = gr.Checkbox(value=False, label="Threshold for each image (MCut)", elem_id="lw_ds_mcut")
            self.rating = gr.Checkbox(value=False, label="Rating tag at the end", elem_id="lw_ds_rating")
            self.gpu = gr.Checkbox(value=False, label="On the graphics card", elem_id="lw_ds_gpu")
        self.hint = panel("lw_ds_tagger_hint", self.hint_view(names[0] if names else None, ""))
        self.package = PackageOffer("This tagger", self._needed_package, "lw_ds_tagger_package")
        self.package.build(names[0] if names else None, "")
        with gr.Row(elem_classes=["lw-actions"]):
            self.start = gr.Button("Tag the images", variant="primary", elem_id="lw_ds_tag")
            self.download = gr.Button(
                f"Download {NAME} ({MEGABYTES} MB)", elem_id="lw_ds_tagger_download", visible=not self._loaded()
            )
            self.refresh = gr.Button("Look for taggers again", elem_id="lw_ds_taggers")
        self.message = panel("lw_ds_tagging_message")

    def connect(self, on: Connector) -> None:
        """Buttons, and the hint that follows the tagger."""
        fields = [self.model, self.folder, self.threshold, self.characters, self.mode, self.exclude]
        on(self.start.click, self.do_tag, [*fields, self.named, self.mcut, self.rating, self.gpu], self.message)
        on.act(self.refresh.click, self.do_look, [], self.message, [self.model, self.download])
        there = [self.model, self.download]
        act(self.download.click, self.do_download, [], self.message, there, busy=LOADING)  # it is no page's own
        for field in (self.model, self.folder):
            on.listen(field.change, self.hint_view, [self.model, self.folder], [self.hint])
        self.package.connect([self.model, self.folder], on.listen, on.act)

    def _loaded(self) -> bool:
        return NAME in self.model_names()

    def model_names(self) -> list[str]:
        """Folders of models, then what the host brings."""
        host = self.session.workbench.host
        root = host.paths.places.taggers
        models = sorted(path.parent.name for path in root.glob(f"*/{MODEL_NAME}") if _has_labels(path.parent))
        return [*models, *host.taggers()]

    @looks
    def do_look(self) -> list[object]:
        """The models there are now; the first is chosen."""
        names = self.model_names()
        found = f"{html.plural(len(names), 'tagger')} found: {', '.join(names)}." if names else "There is still none."
        chosen_now = gr.update(choices=names, value=names[0] if names else None)
        return [html.message(found), chosen_now, gr.update(visible=not self._loaded())]

    @changes
    def do_download(self) -> list[object]:
        """Fetch the tagger that is proposed, and choose it."""
        admit_install()
        name = download_tagger(self.session.workbench.host.paths.places.taggers)
        there = html.message(f"{name} is there. Tag the images with it now.", html.GOOD)
        return [there, gr.update(choices=self.model_names(), value=name), gr.update(visible=False)]

    @looks(paths=("folder",))
    def hint_view(self, model: str | None, folder: str) -> str:
        """How to get a model where there is none; else the threshold at which a known one is balanced."""
        name = (folder or "").strip() or model or ""
        if not name:
            return html.message(NO_TAGGER.format(self.session.workbench.host.paths.places.taggers))
        balanced = balanced_threshold(name)
        if balanced is None:
            return ""
        return html.message(f"{Path(name).name} misses as much as it invents at {balanced:.2f}; lower gives more tags.")

    @changes(paths=("folder",))
    def do_tag(
        self, model: str | None, folder: str, threshold: float, characters: float, mode: str, exclude: str,
        named: bool, mcut: bool, rating: bool, gpu: bool,
    ) -> str:  # fmt: skip
        """Tag the chosen pictures as a job, which ends in a dry run."""
        least = characters if named else NO_CHARACTER
        choice = TagChoice(threshold, least, mcut, rating, tuple(split_tags(exclude or "")))
        tagger = self._tagger(model, (folder or "").strip(), choice, gpu)
        how = MODES[mode]
        session = self.session
        pictures = chosen(session.chosen(), how)
        if not pictures:
            return html.message("All of these images have tags already.")

        def work() -> Iterator[tuple[int, int]]:
            tagged = yield from tag_pictures(pictures, tagger, session.cache / "tags.jsonl")
            session.propose(plan_tagging(tagged, how))

        session.run("Tag images", work)
        return html.until_idle("When all are tagged, the result is shown before anything is written.", html.INFO)

    def _needed_package(self, model: str | None, folder: str | None) -> Package | None:
        """What runs ONNX models; the web UI's own tagger needs nothing, nor does none."""
        own = not (folder or "").strip() and (not model or model in self.session.workbench.host.taggers())
        return None if own else ONNX

    def _tagger(self, model: str | None, folder: str, choice: TagChoice, gpu: bool) -> Tagger:
        host = self.session.workbench.host
        if folder:
            return OnnxTagger(Path(folder).expanduser(), choice, gpu)
        if not model:
            fix = f"Put a WD tagger into {host.paths.places.taggers}, or give its folder"
            raise UserError("There is no tagger", where="Tagger", fix=fix)
        if model in host.taggers():
            return HostTagger(host, model, choice)
        return OnnxTagger(host.paths.places.taggers / model, choice, gpu)


def _has_labels(folder: Path) -> bool:
    return (folder / CSV_NAME).exists() or (folder / JSON_NAME).exists()
