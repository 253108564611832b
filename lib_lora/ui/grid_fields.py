"""What to compare: a field for each dimension of a grid, and how they are laid out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from lib_lora.adapters.blocks import BlockWeights, load_presets
from lib_lora.adapters.file import open_lora
from lib_lora.errors import UserError
from lib_lora.models.family import Family
from lib_lora.tools.grid_spec import BlockChoice, Candidate, GridSpec, search_replace
from lib_lora.tools.picks import spoken
from lib_lora.training.sample_prompts import parse_sample_prompts
from lib_lora.ui.choices import lora_names, run_names, sample_prompt_of
from lib_lora.ui.compat import SKIP
from lib_lora.ui.generation import GenerationFields
from lib_lora.ui.grid_place import FILES, GridPlace, saved_grids
from lib_lora.ui.values import lines, numbers, show, whole_numbers
from lib_lora.workbench import Workbench

STEP_LABEL = re.compile(r"s(?:tep)?\s*(\d{1,9})", re.IGNORECASE)
AXES = {"Epoch or file": "file", "Weight": "weight", "Prompt": "prompt", "Seed": "seed", "Block preset": "blocks"}
ALL = "ALL"  # a block preset: every block at 1


class GridFields:
    """Run or files, epochs, weights, prompts, seeds, block presets; columns and rows; size and sampler."""

    def __init__(self, workbench: Workbench):
        self.workbench = workbench
        self.runs = run_names(workbench)
        self.loras = lora_names(workbench)
        self.grids = saved_grids(workbench)
        self.generation = GenerationFields("Grid", "lw_grid")

    def build(self) -> None:
        """What is compared, and what is drawn."""
        with gr.Row(elem_classes=["lw-fields"]):
            self.run = _dropdown("Run to compare", "run", self.names(), None, scale=2, allow_custom_value=True)
            self.epochs = gr.Textbox(
                "",
                label="Epochs to compare",
                info="empty: all; a list or range: 2, 4-8; s500 is a step",
                elem_id="lw_grid_epochs",
            )
            self.weights = gr.Textbox(
                "0.6-1.0:0.2",
                label="Weights to compare",
                info="a list or a range: 0.6-1.0:0.2",
                elem_id="lw_grid_weights",
            )
            self.seeds = gr.Textbox("1", label="Grid seeds", info="such as 1, 2 or 1-4", elem_id="lw_grid_seeds")
        with gr.Row(elem_classes=["lw-fields"]):
            self.prompts = gr.Textbox(
                "",
                label="Grid prompts",
                info="one a line; write the trigger yourself",
                lines=2,
                elem_id="lw_grid_prompts",
                scale=3,
            )
            self.columns = _dropdown("Columns", "columns", list(AXES), "Epoch or file", info="from left to right")
            self.rows = _dropdown("Rows", "rows", list(AXES), "Weight", info="other choices make tables")
        with gr.Accordion("More to compare: block presets, words of the prompt, other LoRAs", open=False):
            self._build_more()
        self.generation.build(self.workbench.host)

    def _build_more(self) -> None:
        with gr.Row(elem_classes=["lw-fields"]):
            presets = list(load_presets(self._presets))
            self.blocks = _dropdown("Block presets to compare", "blocks", presets, [], multiselect=True)
            self.replace = gr.Textbox(
                "",
                label="Replace in prompt",
                info="the first is searched, all are drawn: red hat, blue hat",
                elem_id="lw_grid_replace",
            )
            self.others = _dropdown("LoRA files beside the epochs", "others", self.loras(), [], multiselect=True)

    @property
    def components(self) -> list[Any]:
        """In the order of :meth:`spec`."""
        return [self.run, *self.filled]

    @property
    def filled(self) -> list[Any]:
        """In the order of :meth:`of_run`."""
        own = [self.epochs, self.weights, self.seeds, self.prompts, self.columns, self.rows, self.blocks, self.replace]
        return [*own, self.others, *self.generation.components]

    def names(self) -> list[str]:
        """The runs, other grids, and what stands for none."""
        return [*self.runs(), *self.grids(), *([FILES] if self.loras() else [])]

    def of_run(self, name: str | None) -> list[Any]:
        """Sensible values for a run: those of its last grid, else its own prompts and size."""
        if not name:
            return [SKIP] * len(self.filled)
        try:
            place = GridPlace(self.workbench, name)
            before, config = place.read(), place.config()
        except UserError:
            return [SKIP] * len(self.filled)
        if before:
            return self._of_grid(place, before)
        if config is None:
            return [SKIP] * len(self.filled)
        own = ["", SKIP, SKIP, sample_prompt_of(place.run, self.workbench.host.literal), SKIP, SKIP, [], "", []]
        samples = parse_sample_prompts(config.sample_prompts, size=config.resolution)
        width, height = (samples[0].width, samples[0].height) if samples else (config.resolution, config.resolution)
        return [*own, *self.generation.sized(width, height, config.clip_skip)]

    def _of_grid(self, place: GridPlace, before: Mapping[str, Any]) -> list[Any]:
        """The values that made the grid ``before``."""
        axis = {dimension: text for text, dimension in AXES.items()}
        blocks = [b["label"] or ALL for b in before["blocks"]]
        compared = [file["label"] for file in before["files"]]
        own = [candidate.label for candidate in place.candidates()]
        others = [label for label in compared if label in self.loras() and label not in own]
        dimensions = [_epochs(own, compared), show(before["weights"]), show(before["seeds"])]
        layout = ["\n".join(before["prompts"]), axis[before["columns"]], axis[before["rows"]]]
        size = self.generation.recorded(before["settings"], self.workbench.host.samplers())
        return [*dimensions, *layout, [] if blocks == [ALL] else blocks, "", others, *size]

    def spec(
        self, run: str | None, epochs: str, weights: str, seeds: str, prompts: str, columns: str, rows: str,
        blocks: list[str] | None, replaced: str, others: list[str] | None, *generation: Any,
    ) -> GridSpec:  # fmt: skip
        """What the fields ask for.

        Raises:
            UserError: naming the field that cannot be read.
        """
        if not run:
            raise UserError("No run is chosen", where="Run to compare", fix="Train a LoRA first")
        files = (*self._own(run, epochs), *(Candidate(n, self.workbench.lora_path(n)) for n in others or ()))
        spec = GridSpec(
            files=files,
            weights=tuple(numbers(weights, where="Weights to compare")),
            prompts=search_replace(lines(prompts, where="Grid prompts"), replaced or ""),
            seeds=tuple(whole_numbers(seeds, where="Grid seeds")),
            settings=self.generation.request(generation),
            blocks=self._blocks(blocks or (), files),
            columns=AXES[columns],
            rows=AXES[rows],
        )
        if not spec.files:
            raise UserError(
                "No LoRA is chosen",
                where="LoRA files beside the epochs",
                fix="Choose at least one, under “More to compare”",
            )
        spec.check()
        return spec

    def _own(self, run: str, epochs: str) -> list[Candidate]:
        """The epochs of a run, or the files of an earlier grid."""
        place = GridPlace(self.workbench, run)
        found = place.candidates()
        if not place.of_run:
            return found
        saved = {candidate.label: candidate for candidate in found}
        wanted = _labels(epochs) if (epochs or "").strip() else list(saved)
        if not wanted:
            raise no_epoch(place)
        if missing := [label for label in wanted if label not in saved]:
            there = ", ".join(label.removeprefix("e") for label in saved)
            fix = f"Saved are {there}" if saved else "Wait until the first epoch is saved"
            raise UserError(f"{spoken(missing[0]).capitalize()} has no LoRA file", where="Epochs to compare", fix=fix)
        return [saved[label] for label in wanted]

    def _blocks(self, names: Any, files: Sequence[Candidate]) -> tuple[BlockChoice, ...]:
        """Each preset with its numbers for all blocks of the files, so that a later change of it changes nothing."""
        presets = load_presets(self._presets)
        of = _family_of(files) if names else None
        found = []
        for name in names:
            weights = BlockWeights.parse(name, presets, of)
            changed = any(weight != 1 for weight in weights.values())
            found.append(BlockChoice(name, weights.format() if changed else ""))
        return tuple(found) or (BlockChoice(),)

    @property
    def _presets(self) -> Any:
        return self.workbench.host.paths.places.block_presets


def _labels(text: str) -> list[str]:
    """``"2, 4-5, s500"`` as the headings ``e2 e4 e5 s500``, in that order."""
    labels = []
    for part in text.split(","):
        if match := STEP_LABEL.fullmatch(part.strip()):
            labels.append(f"s{int(match[1])}")
        else:
            labels += [f"e{epoch}" for epoch in whole_numbers(part, where="Epochs to compare")]
    return labels


def no_epoch(place: GridPlace) -> UserError:
    """Why a run has nothing to compare."""
    if not place.run.epochs():
        fix = "Wait for its first epoch, or continue it under Runs"
        return UserError("No epoch is saved yet", where=place.name, fix=fix)
    fix = "Put them back into the folder of LoRAs, or choose other files under “More to compare”"
    return UserError("The LoRA files of this run are gone", where=place.name, fix=fix)


def _epochs(saved: list[str], compared: list[str]) -> str:
    """The epochs of a grid as text; empty, for all, unless one before the last of them was left out."""
    chosen = [label for label in saved if label in compared]
    upto = saved[: saved.index(chosen[-1]) + 1] if chosen else []
    return "" if chosen == upto else ", ".join(label.removeprefix("e") for label in chosen)


def _dropdown(label: str, key: str, choices: list[str], value: Any, **options: Any) -> Any:
    return gr.Dropdown(choices=choices, value=value, label=label, elem_id=f"lw_grid_{key}", interactive=True, **options)


def _family_of(files: Sequence[Candidate]) -> Family | None:
    """That of the first file; None where there is none that can be read, which the grid says when it is made."""
    try:
        return open_lora(files[0].path).family if files else None
    except UserError:
        return None
