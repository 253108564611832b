"""What training would make of the set, each warning with a link to its remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.dataset import advice
from lib_lora.dataset.check import CheckReport, check
from lib_lora.dataset.config import Concept, DatasetConfig
from lib_lora.dataset.scan import scan
from lib_lora.errors import UserError
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, panel
from lib_lora.ui.dataset.caption_panel import count_tokens
from lib_lora.ui.dataset.pages import Connector
from lib_lora.ui.dataset.panel import Panel, Verb
from lib_lora.ui.dataset.views import facts, link, plain, shown_path, text
from lib_lora.ui.form import SettingsForm
from lib_lora.ui.poll import Poller

# Topic of a warning -> the tool that helps, and its name
REMEDIES = {
    advice.CAPTIONS: ("tagging", "tag them"),
    advice.TRIGGER: ("tags", "add the trigger"),
    advice.LEAKS: ("tags", "remove tags"),
    advice.SMALL: ("pictures", "enlarge them"),
    advice.SHAPE: ("pictures", "crop them"),
    advice.COLOUR: ("classes", "leave some out"),
    advice.COPIES: ("duplicates", "set copies aside"),
}


OF_TRAIN = ("resolution", "batch_size", "epochs")  # settings of the Train tab that the check needs


class ReportPanel(Panel):
    """The last step here, with the settings of the Train tab; from it the set goes there."""

    name, key = "Check", "check"

    def build(self) -> None:
        """The trigger, settings, and the report."""
        with gr.Row(elem_classes=["lw-fields"]):
            self.trigger = gr.Textbox(label="Trigger word", info="Empty for a style", elem_id="lw_ds_trigger")
        self.settings = panel("lw_ds_settings")
        with gr.Row(elem_classes=["lw-actions"]):
            self.check = gr.Button("Check the set", elem_id="lw_ds_check")
            self.send = gr.Button("Send to Train →", variant="primary", elem_id="lw_ds_send")
        self.message = panel("lw_ds_report_message")
        self.report = panel("lw_ds_report")

    def connect(self, on: Connector) -> None:
        """Nothing happens to the set here; see :meth:`connect_train`."""

    def connect_train(self, on: Connector, poller: Poller, tabs: gr.Tabs, form: SettingsForm) -> None:
        """``form``: the Train tab's."""
        fields = form.fields
        used = [fields[name] for name in OF_TRAIN]
        inputs = [self.trigger, *used]
        on.act(self.check.click, self.do_check, inputs, self.message, [self.report], busy="Reading the folders …")
        filled = [fields[name] for name in ("data_dir", "trigger", "name")]
        form.filled(
            on.act(self.send.click, self.do_send, [self.trigger, fields["name"]], self.message, [tabs, *filled])
        )
        poller.keep(lambda *values: [settings_line(*values)], [self.settings], used)

    def verbs(self) -> dict[str, Verb]:
        """``only``: a click shows the pictures that a line is about."""
        return {"only": self.show_only}

    @looks
    def do_send(self, trigger: str, name: str) -> list[Any]:
        """The folder and the trigger; this is also the LoRA's name until it gets another."""
        folders = self.session.opened().folders
        if len(folders) > 1:
            fix = "Put them into one folder and open that; each may be a sub-folder N_name of it"
            raise UserError(f"{len(folders)} folders are open, and Train takes one", where="Folders of images", fix=fix)
        trigger = (trigger or "").strip()
        given = trigger or gr.update()  # what stands there already is not emptied
        return [NO_MESSAGE, gr.update(selected="train"), str(folders[0]), given, (name or "").strip() or trigger]

    @changes
    def do_check(self, trigger: str, resolution: float | None, batch: float | None, epochs: float | None) -> list[str]:
        """Report on the open set."""
        editor = self.session.opened()
        config = DatasetConfig(
            tuple(Concept(folder) for folder in editor.folders),
            resolution=int(resolution or 512),
            batch_size=int(batch or 1),
            trigger=(trigger or "").strip(),
            shuffle=True,
            keep_tokens=1 if (trigger or "").strip() else 0,
        )
        found = scan(config)
        if not found.items:
            raise UserError("There is no usable image", where=editor.folders[0], fix="See the list of files above")
        self.session.report = check(found, config, epochs=int(epochs or 1), count_tokens=count_tokens)
        return [NO_MESSAGE, self.report_view(self.session.report)]

    def show_only(self, number: str) -> None:
        """Show the pictures of a warning in the gallery."""
        warning = self.session.report.warnings[int(number)]
        self.session.only = (warning.text.split(":")[0], frozenset(warning.paths))
        self.session.page = 0
        self.session.touch()

    def report_view(self, report: CheckReport) -> str:
        """HTML of a report."""
        parts: tuple[Callable[[CheckReport], str], ...] = (_facts, self._folders, _buckets, _captions, self._warnings)
        return f'<div class="lw-panel" id="lw_ds_report_panel">{"".join(part(report) for part in parts)}</div>'

    def _folders(self, report: CheckReport) -> str:
        root = self.session.opened().folders[0]
        rows = [
            (
                plain(shown_path(c.concept.path, root)),
                c.images,
                c.concept.repeats,
                c.samples,
                f"{c.samples / max(1, report.samples_per_epoch):.0%}",
            )
            for c in report.concepts
        ]
        return html.table(("Folder", "Images", "Repeats", "Samples an epoch", "Share"), rows)

    def _warnings(self, report: CheckReport) -> str:
        if not report.warnings:
            return html.message("No warnings.", html.GOOD)
        lines = []
        for number, warning in enumerate(report.warnings):
            links = link("show them", "only", str(number)) if warning.paths else ""
            if warning.topic in REMEDIES:
                tool, label = REMEDIES[warning.topic]
                links += f'<button type="button" class="lw-link" data-lw-tool="{tool}">→ {text(label)}</button>'
            fix = f'<span class="lw-fix">{text(html.sentence(warning.fix))}</span>'
            sentence = text(html.sentence(warning.text))
            lines.append(f'<div class="lw-message lw-warning" role="status">{sentence} {fix} {links}</div>')
        return "".join(lines)


def settings_line(resolution: float | None, batch: float | None, epochs: float | None) -> str:
    """What the check goes by."""
    values = f"{resolution or 512:g} px, batch size {batch or 1:g}, {html.plural(int(epochs or 1), 'epoch')}"
    return f'<span class="lw-quiet">With the settings of the Train tab: {values}.</span>'


def _facts(report: CheckReport) -> str:
    return facts(
        [
            ("Images", f"{report.images:,}"),
            ("Each epoch", f"{report.samples_per_epoch:,} samples, {html.plural(report.steps_per_epoch, 'step')}"),
            ("Whole run", html.plural(report.total_steps, "step")),
        ]
    )


def _buckets(report: CheckReport) -> str:
    chips = "".join(f"<span>{w}×{h} <b>{count}</b></span>" for (w, h), count in report.buckets.items())
    return f'<div class="lw-chips"><i>Buckets</i>{chips}</div>'


def _captions(report: CheckReport) -> str:
    items = "".join(f"<li>{text(caption) or '<em>no caption</em>'}</li>" for caption in report.captions)
    chips = "".join(f"<span>up to {75 * n} tokens <b>{count}</b></span>" for n, count in report.tokens.chunks.items())
    return (
        f'<div class="lw-chips"><i>Caption lengths</i>{chips}<span>longest {report.tokens.longest}</span></div>'
        f'<div class="lw-block"><i>First captions, as the model will see them</i><ul>{items}</ul></div>'
    )
