"""Settings from elsewhere and for elsewhere: other trainers' configs, and the user's own presets."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.training.config_file import config_to_toml
from lib_lora.training.importers import OWN, import_config
from lib_lora.training.importers.export import export_kohya
from lib_lora.training.importers.report import APPLIED, IGNORED, TRANSLATED, UNKNOWN, Imported
from lib_lora.training.own_presets import OwnPresets
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.form import SettingsForm

ORDER = (UNKNOWN, IGNORED, TRANSLATED, APPLIED)  # what needs a look comes first


class ConfigPanel:
    """Import, export, and own presets.

    Args:
        family: of the model that is loaded; empty where there is none.
        loras: the folders of the host's LoRAs.
    """

    def __init__(
        self,
        form: SettingsForm,
        presets: OwnPresets,
        family: Callable[[], str] = lambda: "",
        loras: Sequence[Path] = (),
    ):
        self.form = form
        self._loras = loras
        self._family = family
        self.presets = presets

    def build(self) -> None:
        """Import, export, and own presets."""
        with gr.Row(elem_classes=["lw-actions"]):
            self.import_ = gr.UploadButton(
                "Import a config …",
                file_types=[".toml", ".json", ".jsonc", ".yaml", ".yml", ".sh", ".bat", ".cmd", ".ps1", ".txt"],
                elem_id="lw_train_import",
                size="sm",
            )
            self.export = gr.Button("Export for kohya", elem_id="lw_train_export", size="sm")
            self.own_file = gr.Button("Export settings file", elem_id="lw_train_export_own", size="sm")
        with gr.Row(elem_classes=["lw-fields", "lw-tight"]):
            self.name = gr.Textbox(
                value="",
                label="Preset name",
                info="keeps all settings but folder, name and trigger",
                elem_id="lw_preset_name",
            )
            self.save = gr.Button("Save as preset", elem_id="lw_preset_save", size="sm")
            self.delete = gr.Button("Delete the chosen preset", elem_id="lw_preset_delete", size="sm")
        self.message = panel("lw_config_message")
        self.report = panel("lw_config_report")

    def connect(self, preset: gr.Dropdown) -> None:
        """``preset``: the field that lists the presets."""
        values = self.form.inputs
        taken = act(self.import_.upload, self.take_in, [self.import_, *values], self.message, [self.report, *values])
        self.form.filled(taken)
        act(self.export.click, self.give_out, values, self.message, [self.report])
        act(self.own_file.click, self.give_out_own, values, self.message, [self.report])
        self.form.filled(act(self.save.click, self.save_preset, [self.name, *values], self.message, [preset]))
        self.form.filled(act(self.delete.click, self.delete_preset, [preset], self.message, [preset]))

    @looks(paths=("file",))
    def take_in(self, file: Any, *values: Any) -> list[Any]:
        """An uploaded config becomes the form's settings; gradio gives a path, or an object with its name."""
        path = Path(getattr(file, "name", file))
        present = self.form.config(values)
        found = import_config(path)
        config = found.applied_to(present)
        text = f"{path.name} ({found.format}): {import_summary(found)}"
        return [html.message(text, html.GOOD), import_report(found), *self.form.values(config)]

    @looks
    def give_out(self, *values: Any) -> list[Any]:
        """A link to the settings as kohya's script takes them, with what those cannot say."""
        config = self.form.config(values)
        found = export_kohya(config, self._family(), self._loras)
        shown = download(found.text, f"{config.name or 'lora'}-kohya.toml", f"For {found.script} --config_file")
        if found.prompts_file:
            shown += download(found.prompts, found.prompts_file, "Sample prompts; put it where you start the trainer")
        if not found.left_out:
            return [NO_MESSAGE, shown]
        lost = "; ".join(f"{label} ({why})" for label, why in found.left_out.items())
        return [html.message(f"Not in the file: {lost}.", html.WARNING), shown]

    @looks
    def give_out_own(self, *values: Any) -> list[Any]:
        """A link to the settings as a file of ours."""
        config = self.form.config(values)
        text = config_to_toml(config)
        return [
            NO_MESSAGE,
            download(text, f"{config.name or 'lora'}.toml", "For python -m lib_lora train, and for this tab"),
        ]

    @changes
    def save_preset(self, name: str, *values: Any) -> list[Any]:
        """Keep the settings under a name, without what belongs to one LoRA."""
        saved = self.presets.save(name or "", self.form.config(values))
        text = f"Saved. “{saved}” is among the presets now."
        return [html.message(text, html.GOOD), gr.update(choices=self.presets.names(), value=saved)]

    @changes
    def delete_preset(self, name: str) -> list[Any]:
        """Remove one of the user's own."""
        self.presets.delete(name)
        names = self.presets.names()
        return [html.message(f"“{name}” is deleted."), gr.update(choices=names, value=names[0])]


def import_summary(found: Imported) -> str:
    """How many keys ended how."""
    counts = Counter(line.outcome for line in found.lines)
    said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in ORDER[::-1] if counts[outcome])
    return f"{said}. Other settings are at that trainer's defaults." if found.format != OWN else f"{said}."


def import_report(found: Imported) -> str:
    """A row for each key of the file."""
    rows = [
        (line.key, _short(line.value), line.outcome, line.text)
        for outcome in ORDER
        for line in found.with_outcome(outcome)
    ]
    return html.table(["Key", "Value", "Outcome", "What was done, or why not"], rows)


def download(text: str, name: str, what: str) -> str:
    """A link that saves ``text`` as a file, and the text itself to look at."""
    data = base64.b64encode(text.encode()).decode()
    link = f'<a class="lw-pick" download="{escape(name)}" href="data:text/plain;base64,{data}">Save {escape(name)}</a>'
    return (
        f'<div class="lw-panel">{link} <span class="lw-quiet">{escape(what)}</span>'
        f'<pre class="lw-code" tabindex="0">{escape(text)}</pre></div>'
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"
