"""The settings of a run as a form, generated from what :class:`TrainConfig` says about each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, asdict, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora import access
from lib_lora.bounds import check_number
from lib_lora.errors import UserError
from lib_lora.training.config import GROUPS, TrainConfig, default_of, settings
from lib_lora.training.config_groups.setting import NOISE, SCHEDULE, check_value
from lib_lora.training.config_groups.slider import is_slider
from lib_lora.training.effect import without_effect
from lib_lora.training.measured import CLAIMS_OF
from lib_lora.ui.actions import panel
from lib_lora.ui.compat import listen
from lib_lora.ui.curves import lr_chart, timestep_chart
from lib_lora.ui.draft import Draft
from lib_lora.ui.html import TRUTH

PREFIX = "lw_train_"
BASIC = (
    "data_dir", "name", "trigger", "epochs", "sample_prompts", "repeats", "batch_size", "resolution", "rank", "alpha",
    "unet_lr",
)  # fmt: skip
OWN = ("data_dir", "name", "trigger")  # no preset has them
FROM_HOST = ("model",)  # the loaded checkpoint, chosen in the header
CURVES = {SCHEDULE: lr_chart, NOISE: timestep_chart}  # a picture at the top of a group
FOLDERS = ("data_dir", "reg_dir", "mask_dir")


def group_of(f: Field) -> str:
    """The group of settings that a field belongs to."""
    return f.metadata["group"]


def group_title(group: str) -> str:
    """Heading of a group; of the first one, the fields that are always in view are elsewhere."""
    return "Regularisation, start and seed" if group == GROUPS[0] else group


def label_of(f: Field) -> str:
    """Label with its unit; unique on the page."""
    unit = f.metadata["unit"]
    return f"{f.metadata['label']} ({unit})" if unit else f.metadata["label"]


def component(name: str, value: Any) -> Any:
    """The input that suits a setting's type."""
    f = settings()[name]
    meta = f.metadata
    common = {"label": label_of(f), "info": meta["help"], "value": value, "elem_id": PREFIX + name, "interactive": True}
    kind = type(default_of(f))
    if kind is bool:
        return gr.Checkbox(**common)
    if meta["choices"]:
        return gr.Dropdown(choices=list(meta["choices"]), allow_custom_value=bool(meta["others"]), **common)
    if kind in (int, float):
        return gr.Number(**common)  # without a precision: 2.5 epochs are to be refused, not to be cut to 2
    return gr.Textbox(lines=3 if name == "sample_prompts" else 1, **common)


class SettingsForm:
    """All settings: those that most trainings change always in view, the rest in groups under *More settings*.

    A setting without an effect is hidden while it has its default value, so that nothing acts unseen later.

    Args:
        prediction: of the model that is loaded; empty where there is none.
    """

    def __init__(self, prediction: Callable[[], str] = lambda: "") -> None:
        self._prediction = prediction
        self.names = [name for name in settings() if name not in FROM_HOST]
        self.fields: dict[str, Any] = {}
        self.curves: list[gr.HTML] = []  # in the order of CURVES

    @property
    def inputs(self) -> list[Any]:
        """The components in the order of :attr:`names`."""
        return [self.fields[name] for name in self.names]

    def basic(self, name: str, start: TrainConfig) -> None:
        """Place one of the fields that are always in view."""
        self.fields[name] = component(name, getattr(start, name))

    def more(self, start: TrainConfig) -> None:
        """Place all other fields, a closed group each, and the search."""
        with gr.Row(elem_classes=["lw-tight"]):
            self.search = gr.Textbox(
                value="",
                label="Find a setting",
                placeholder="a word, or kohya's name such as min_snr_gamma",
                elem_id=PREFIX + "search",
                scale=3,
            )
            self.reset = gr.Button("Reset to preset", elem_id=PREFIX + "reset", size="sm", scale=1)
        self.found = panel(PREFIX + "found")
        for group in GROUPS:
            names = [n for n in self.names if group_of(settings()[n]) == group and n not in BASIC]
            with gr.Accordion(group_title(group), open=False):
                if group in CURVES:
                    self.curves.append(panel(f"{PREFIX}curve_{len(self.curves)}", CURVES[group](start)))
                for row in _rows(names):
                    with gr.Row(elem_classes=["lw-fields"]):
                        for name in row:
                            self.fields[name] = component(name, getattr(start, name))

    def faults(self, values: Sequence[Any]) -> list[UserError]:
        """All that is wrong with the fields, at most one fault each; empty where they can be used. A folder that is not
        there is wrong too."""
        found: dict[str, UserError] = {}
        read = {}
        usable = {**asdict(TrainConfig()), "name": "x", "data_dir": "x"}
        for name, value in zip(self.names, values, strict=True):
            try:
                read[name] = _typed(name, value)
            except UserError as error:
                found[name], read[name] = error, usable[name]
        while True:
            try:
                TrainConfig(**read).check()
                return [*found.values(), *_missing(read, found)]
            except UserError as error:
                name = field_of(error)
                if not name or name in found:
                    return [*found.values(), *([] if name else [error]), *_missing(read, found)]
                found[name], read[name] = error, usable[name]

    def config(self, values: Sequence[Any]) -> TrainConfig:
        """The settings that the form shows; not yet checked.

        Raises:
            UserError: a number field is empty.
        """
        return TrainConfig(**{n: _typed(n, v) for n, v in zip(self.names, values, strict=True)})

    def described(self, base: TrainConfig, values: Sequence[Any]) -> list[str]:
        """What differs from ``base``, with what is hidden, and the curves."""
        return [self.noted(base, values), *self.drawn(values)]

    def noted(self, base: TrainConfig, values: Sequence[Any]) -> str:
        """What differs from ``base``, and styles that mark these fields and hide those without an effect."""
        return hiding(self.hidden(values)) + marks(changed(base, dict(zip(self.names, values, strict=True))))

    def hidden(self, values: Sequence[Any]) -> dict[str, str]:
        """Setting -> when it would have an effect, of those that have none and are at their default."""
        shown = dict(zip(self.names, values, strict=True))
        known = settings()
        idle = without_effect(shown, self._prediction())
        return {name: why for name, why in idle.items() if shown[name] == default_of(known[name])}

    def drawn(self, values: Sequence[Any]) -> list[str]:
        """A curve for each of :data:`CURVES`; empty while a setting is not usable."""
        try:
            config = replace(self.config(values), name="x", data_dir="x").check()
        except UserError:
            return [""] * len(CURVES)
        return [draw(config) for draw in CURVES.values()]

    def values(self, config: TrainConfig) -> list[Any]:
        """What the form shows for ``config``."""
        return [getattr(config, name) for name in self.names]

    def bind(self, preset: gr.Dropdown, changes: gr.HTML, baseline: Callable[[str], TrainConfig], draft: Draft) -> None:
        """Tell the form what stands around it; inside the page's ``Blocks``.

        Args:
            changes: shows how many settings differ from the preset, and marks their fields.
            baseline: the settings that a preset stands for.
            draft: is given what a user does.
        """
        self._preset, self._baseline, self._draft = preset, baseline, draft
        self._shown = [changes, *self.curves]
        self.typing = gr.Textbox("", label="Changed fields", elem_id=PREFIX + "typed", elem_classes=["lw-hidden"])

    def connect(self) -> None:
        """Apply presets, keep what is typed, mark what was changed since, draw curves, and search.

        Only a user's input is kept, never the change of a field while a page is loading: that would replace the draft
        by what an empty form shows. ``javascript/lora_workbench_typing.js`` tells which fields that was.
        """
        now = [self._preset, *self.inputs]
        for trigger in (self._preset.input, self.reset.click):
            self.filled(listen(trigger, self.apply, now, [self.fields[name] for name in self._not_own()]))
        listen(self.typing.change, self.typed, [self.typing, *now], self._shown)
        listen(self.search.change, self.search_for, [self.search, *self.inputs], [self.found])

    def filled(self, event: Any) -> None:
        """Keep and describe what ``event``, a dependency, has filled the form with."""
        listen(event.then, self.keep, [self._preset, *self.inputs], self._shown)

    @access.changes
    def keep(self, preset: str, *now: Any) -> list[Any]:
        """All settings as they are shown."""
        self._draft.save(preset, dict(zip(self.names, now, strict=True)))
        return self.described(self._baseline(preset), now)

    def put(self, changed: Mapping[str, Any]) -> None:
        """Keep some settings and no others: another page may show other values of these."""
        kept = self._draft.load()
        if kept and changed:
            self._draft.put(kept[0], changed, {})

    @access.changes
    def typed(self, ids: str, preset: str, *now: Any) -> list[Any]:
        """A user has changed fields: ``ids``, with commas between, then the time."""
        shown = dict(zip(self.names, now, strict=True))
        names = [element.removeprefix(PREFIX) for element in ids.partition("|")[0].split(",")]
        self._draft.put(preset, {name: shown[name] for name in names if name in shown}, shown)
        return self.described(self._baseline(preset), now)

    @access.looks
    def apply(self, preset: str, *_: Any) -> list[Any]:
        """The values of a preset, for all fields but folder, name and trigger: these may be being typed."""
        config = self._baseline(preset)
        return [getattr(config, name) for name in self._not_own()]

    @access.looks
    def search_for(self, text: str, *now: Any) -> str:
        """Where the settings are that have ``text``."""
        return search(text, self.hidden(now))

    def _not_own(self) -> list[str]:
        return [name for name in self.names if name not in OWN]


def _missing(read: Mapping[str, Any], found: Mapping[str, UserError]) -> list[UserError]:
    """Folders that are not there, of the fields that nothing else is wrong with."""
    drawn = is_slider(TrainConfig(**read))  # its pictures come first
    names = FOLDERS[1:] if drawn else FOLDERS
    given = {name: str(read[name]).strip() for name in names if name not in found}
    paths = {name: Path(path).expanduser() for name, path in given.items() if path not in ("", "x")}
    return [_no_folder(name, path) for name, path in paths.items() if not path.is_dir()]


def _no_folder(name: str, path: Path) -> UserError:
    if access.permits(path) and path.is_file():
        return UserError("This is a file, not a folder", where=name, fix=f"Use the folder it is in: {path.parent}")
    return UserError("There is no such folder", where=name, fix="Check the path")


def changed(base: TrainConfig, values: dict[str, Any]) -> dict[str, Any]:
    """Setting -> value of ``base``, for each that differs; folder, name and trigger are always one's own."""
    before = asdict(base)
    return {n: before[n] for n, v in values.items() if n not in OWN and v != before[n]}


def marks(differs: dict[str, Any]) -> str:
    """A sentence about the changed settings, and a style that marks their fields."""
    if not differs:
        return '<span class="lw-quiet">All settings are as the preset has them.</span>'
    known = settings()
    names = ", ".join(f"{known[n].metadata['label']} (preset: {v if v != '' else 'empty'})" for n, v in differs.items())
    fields = ", ".join(f"#{PREFIX}{n}" for n in differs)
    bars = ", ".join(f"#{PREFIX}{n}::before" for n in differs)
    return (
        f"<style>{fields} {{ overflow: visible !important; }}"  # Forge's gradio would cut off a bar beside the field
        f'{bars} {{ content: ""; position: absolute; inset: 0 auto 0 var(--lw-bar, 0px); width: 3px;'
        " background: var(--lw-accent); }</style>"
        f'<span class="lw-quiet"><b>{len(differs)} changed:</b> {escape(names)}</span>'
    )


def hiding(names: Iterable[str]) -> str:
    """A style that hides the fields of these settings; empty for none."""
    fields = ", ".join(f"#lw_page #{PREFIX}{name}" for name in names)
    return f"<style>{fields} {{ display: none !important; }}</style>" if fields else ""


def fault(error: UserError) -> str:
    """A style that frames the field which ``error`` is about, with the message in it; empty if it is about no field."""
    name = field_of(error)
    if not name:
        return ""
    text = f"{error.what}. {error.fix or ''}".replace("\\", "\\\\").replace('"', '\\"').replace("<", "\\3c ")
    text = text.replace("\n", " ")
    return (
        f"<style>#{PREFIX}{name} {{ outline: 2px solid var(--lw-bad); outline-offset: var(--lw-frame, -2px);"
        " height: auto !important; }"
        f"#lw_page #{PREFIX}{name} > .container {{ height: auto; }}"
        f'#{PREFIX}{name}::after {{ content: "{text}"; display: block; color: var(--lw-bad); font-size: 0.85em;'
        f" padding: 0 10px 6px; white-space: normal; }}</style>"
    )


def field_of(error: UserError) -> str:
    """The setting that ``error`` is about; empty if it is about none."""
    name = str(error.where or "").split(",")[0]
    return name if name in settings() else ""


def in_words(error: UserError) -> UserError:
    """``error`` with the label of its field in place of the name that the program has for it."""
    name = field_of(error)
    return UserError(error.what, where=settings()[name].metadata["label"], fix=error.fix) if name else error


def search(text: str, hidden: Mapping[str, str]) -> str:
    """Where the settings are that have ``text`` in their label, help or kohya name; of the hidden ones, why."""
    words = text.casefold().replace("_", " ").split()
    if not words:
        return ""
    hits = [f for f in settings().values() if all(word in _searchable(f) for word in words)]
    items = "".join(
        f"<li>{_way_to(f, hidden)} <code>{escape(f.metadata['kohya'])}</code> "
        f"{escape(f.metadata['help'])}{_verdicts(f)}</li>"
        for f in hits
        if f.name not in FROM_HOST
    )
    return f'<ul class="lw-found">{items}</ul>' if hits else '<span class="lw-quiet">No setting has that.</span>'


def _way_to(f: Field, hidden: Mapping[str, str]) -> str:
    place = f"{escape(group_title(group_of(f)))} › {escape(f.metadata['label'])}"
    if f.name in hidden:
        return f"{place} <b>({escape(hidden[f.name])})</b>"
    group = escape("" if f.name in BASIC else group_title(group_of(f)))
    go = f'data-lw-goto="{PREFIX}{f.name}" data-lw-group="{group}"'
    return f'<button type="button" class="lw-link" {go}>{place}</button>'


def _verdicts(f: Field) -> str:
    """A link to the claims about a setting that were put to the test."""
    names = ", ".join(CLAIMS_OF.get(f.name, ()))
    link = f'<a href="lora_workbench/guide/{TRUTH}" target="_blank">claims tested</a>'
    return f' <span class="lw-quiet">{link}: {names}</span>' if names else ""


def _searchable(f: Field) -> str:
    meta = f.metadata
    return " ".join((f.name, meta["kohya"], meta["label"], meta["help"])).replace("_", " ").casefold()


def _typed(name: str, value: Any) -> Any:
    f = settings()[name]
    kind = type(default_of(f))
    if value is None and kind is not str:
        raise UserError(f"{f.metadata['label']} is empty", where=name, fix=f"The usual value is {default_of(f)}")
    if kind is int and isinstance(value, float) and math.isfinite(value) and value != int(value):
        whole = f"Use {int(value)} or {int(value) + 1}"
        raise UserError(f"{f.metadata['label']} must be a whole number, not {value:g}", where=name, fix=whole)
    if kind in (int, float):
        if f.metadata["low"] is None:
            check_number(value, name, -1e15, 1e15)
        # other bounds than the setting's own would refuse the value that they had proposed
        check_value(f, kind(value) if isinstance(value, (int, float)) and math.isfinite(value) else value)
    if kind in (int, float) and not isinstance(value, bool):
        return kind(value)
    return "" if value is None else value.strip() if kind is str and name != "sample_prompts" else value


def _rows(names: Iterable[str], width: int = 3) -> list[list[str]]:
    """Three fields a row; the sample prompts have a row of their own."""
    rows: list[list[str]] = [[]]
    for name in names:
        if name == "sample_prompts" or len(rows[-1]) == width or rows[-1][:1] == ["sample_prompts"]:
            rows.append([])
        rows[-1].append(name)
    return [row for row in rows if row]
