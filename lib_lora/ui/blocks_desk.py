"""What the *Blocks* tab knows: the LoRA on it, its block weights, and every step of theirs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lib_lora.adapters.block_presets import drawn_as, import_lbw, load_presets, save_presets
from lib_lora.adapters.blocks import BlockWeights, presets_for
from lib_lora.adapters.file import read_lora
from lib_lora.errors import UserError
from lib_lora.models.family import Family
from lib_lora.tools.block_edits import History, LbwText, lbw_text
from lib_lora.tools.symptoms import Proposal, propose
from lib_lora.workbench import LoraEntry, Workbench

SAVED_AS = ".safetensors, in the LoRA folder; nothing is overwritten"


@dataclass(frozen=True)
class Shape:
    """What the sliders need to know of a file."""

    family: Family
    layout: tuple[str, ...]
    present: frozenset[str]  # blocks that the file has layers in
    remarks: tuple[str, ...] = ()  # layers that act nowhere


class BlocksDesk:
    """Block weights by LoRA, kept in this process: a page that is reloaded finds them, and their history, again."""

    def __init__(self, workbench: Workbench):
        self.workbench = workbench
        self._histories: dict[str, History] = {}
        self._chosen: dict[str, str] = {}
        self._kept: dict[str, str] = {}
        self._shapes: dict[tuple[Path, int], Shape] = {}

    # -- the file -----------------------------------------------------------------------------------------------------

    def entry(self, name: str | None) -> LoraEntry:
        """The LoRA called ``name``.

        Raises:
            UserError: there is none.
        """
        for entry in self.workbench.list_loras():
            if entry.name == name:
                return entry
        raise UserError("Choose a LoRA", where=name or "LoRA to tune", fix="It must be in the LoRA folder")

    def shape(self, name: str | None) -> Shape:
        """Read from the file once, and again when it has changed."""
        path = self.entry(name).path
        key = (path, path.stat().st_mtime_ns)
        if key not in self._shapes:
            file = read_lora(path)
            of = file.family
            present = frozenset(of.blocks.of(layer) or of.blocks.names[0] for layer in file.modules)
            self._shapes[key] = Shape(of, of.blocks.layout_for(file.modules), present, tuple(file.remarks))
        return self._shapes[key]

    # -- weights ------------------------------------------------------------------------------------------------------

    def presets(self) -> dict[str, str]:
        """Name -> block weights as text; built-in ones and the user's."""
        return load_presets(self.presets_file)

    def presets_of(self, name: str | None) -> list[str]:
        """Names of those that fit a LoRA's family; of all, where no LoRA is chosen or it cannot be read."""
        try:
            return presets_for(self.shape(name).family, self.presets())
        except UserError:
            return list(self.presets())

    @property
    def presets_file(self) -> Path:
        """The user's own."""
        return self.workbench.host.paths.places.block_presets

    def history(self, name: str) -> History:
        """The steps so far; the first is all blocks at 1."""
        if name not in self._histories:
            self._histories[name] = History((self.tidy(name, "1," * (len(self.shape(name).layout) - 1) + "1"),))
        return self._histories[name]

    def text(self, name: str) -> str:
        """Of a LoRA's block weights, as they stand on the desk."""
        return self.history(name).text

    def weights(self, name: str) -> BlockWeights:
        """Of a LoRA, as they stand; UserError where their text cannot be read."""
        return self.parsed(name, self.text(name))

    def parsed(self, name: str, text: str) -> BlockWeights:
        """``text`` for the layout of a LoRA; presets by name count."""
        return BlockWeights.parse(text, self.presets(), self.shape(name).family)

    def tidy(self, name: str, text: str) -> str:
        """What was typed, or a preset's name, in the layout of the sliders."""
        return self.parsed(name, text).format(self.shape(name).layout)

    def set(self, name: str, text: str) -> None:
        """Make ``text``, in any form, the weights that count; a step that can be undone."""
        self._histories[name] = self.history(name).record(self.tidy(name, text))
        self._chosen[name] = text.strip()

    def preset(self, name: str) -> str | None:
        """The preset whose weights these are; of several, the one that was chosen."""
        presets = self.presets()
        order = sorted(presets, key=lambda preset: preset != self._chosen.get(name))
        return next((preset for preset in order if self._is_preset(name, preset)), None)

    def _is_preset(self, name: str, preset: str) -> bool:
        try:
            return self.tidy(name, preset) == self.text(name)
        except UserError:  # for another family, or a line of the user's that cannot be read
            return False

    def undo(self, name: str) -> None:
        """Back by one edit of that LoRA."""
        self._histories[name] = self.history(name).undo()

    def redo(self, name: str) -> None:
        """Forward by one edit of that LoRA."""
        self._histories[name] = self.history(name).redo()

    def scale(self, name: str, first: str, last: str, factor: float) -> None:
        """Multiply a range of blocks."""
        weights = self.weights(name).scaled(factor, first, last)
        self.set(name, weights.format(self.shape(name).layout))

    # -- to compare with ----------------------------------------------------------------------------------------------

    def keep(self, name: str) -> None:
        """Take the weights of now as A, which previews are compared with."""
        self._kept[name] = self.text(name)

    def kept(self, name: str) -> str | None:
        """The weights that pictures of a LoRA are compared with; None before any were kept."""
        return self._kept.get(name)

    # -- symptoms -----------------------------------------------------------------------------------------------------

    def proposal(self, name: str, key: str, number: int, weight: float, role: str) -> Proposal:
        """See :func:`propose`; changes of blocks that have no slider are left out of what is shown."""
        shape = self.shape(name)
        found = propose(key, number, self.weights(name), weight, role)
        shown = {block: pair for block, pair in found.changes.items() if block.partition(".")[0] in shape.layout}
        return Proposal(found.weights, shown, found.weight, found.other, found.last)

    def apply(self, name: str, proposal: Proposal) -> None:
        """Set a LoRA's weights to a symptom's proposal; can be undone."""
        self.set(name, proposal.weights.format(self.shape(name).layout))

    # -- to take elsewhere --------------------------------------------------------------------------------------------

    def prompt(self, name: str, weight: float) -> LbwText:
        """A LoRA's weights as a tag for the prompt, at ``weight``."""
        return lbw_text(name, self.weights(name), self.shape(name).layout, weight)

    def tag(self, name: str, weight: float) -> str:
        """The tag as we read it ourselves in a prompt: weights of kinds of layers are in it."""
        text = "" if set(self.weights(name).values()) == {1} else f":lbw={self.text(name)}"
        return f"<lora:{self.entry(name).path.stem}:{weight:g}{text}>"

    def save_preset(self, name: str, preset: str, replace: bool) -> None:
        """Put the weights into the user's file of presets; it is refused where the name is taken."""
        save_presets(self.presets_file, {preset.strip(): self.text(name)}, replace)

    def import_presets(self, text: str, replace: bool) -> str:
        """Take over a list of the Block Weight extension; returns what was done, in words."""
        found = import_lbw(text)
        for preset, weights in list(found.presets.items()):
            try:
                BlockWeights.parse(drawn_as(weights, "1"), {})
            except UserError as error:
                found.skipped[preset] = error.what
                del found.presets[preset]
        if not found.presets:
            reasons = "; ".join(f"{preset}: {why}" for preset, why in found.skipped.items())
            raise UserError("There is no preset to import", fix=reasons or "Paste lines such as NAME:1,0,0.5,…")
        save_presets(self.presets_file, found.presets, replace)
        skipped = "".join(f" Left out {preset}: {why}." for preset, why in found.skipped.items())
        return f"Imported {', '.join(found.presets)}.{skipped}"
