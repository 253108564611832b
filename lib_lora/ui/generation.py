"""How pictures are generated: the same few fields wherever one asks for some."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import gradio as gr

from lib_lora import bounds
from lib_lora.errors import UserError
from lib_lora.models.base import GenerationRequest, Host
from lib_lora.training.config import TrainConfig
from lib_lora.training.presets import usual_preset
from lib_lora.ui.compat import SKIP

FIELDS = ("negative", "width", "height", "steps", "cfg", "sampler", "clip_skip")
WHOLE = ("width", "height", "steps", "clip_skip")


class GenerationFields:
    """Negative prompt, size, steps, guidance, sampler and clip skip.

    Args:
        title: distinguishes the labels of this panel from those of others.
        prefix: of the element ids.
    """

    def __init__(self, title: str, prefix: str):
        self.title = title
        self.prefix = prefix
        self.components: list[Any] = []

    def build(self, host: Host) -> None:
        """Size, steps, sampler and all else of a picture; the size is the model's usual one."""
        samplers = host.samplers()
        start = GenerationRequest("", sampler=samplers[0])
        side = usual_preset(host.info()).applied_to(TrainConfig()).resolution
        with gr.Accordion(f"{self.title}: size, steps and sampler", open=False, elem_id=f"{self.prefix}_more"):
            with gr.Row(elem_classes=["lw-fields"]):
                negative = self._text("negative", "negative prompt", start.negative)
            with gr.Row(elem_classes=["lw-fields"]):
                width, height = self._number("width", "width (px)", side), self._number("height", "height (px)", side)
                steps, cfg = self._number("steps", "steps", start.steps), self._number("cfg", "CFG scale", start.cfg)
                sampler = gr.Dropdown(
                    choices=samplers,
                    value=start.sampler,
                    label=f"{self.title} sampler",
                    elem_id=f"{self.prefix}_sampler",
                    interactive=True,
                    min_width=140,
                )
                clip_skip = self._number("clip_skip", "clip skip", start.clip_skip)
        self.components = [negative, width, height, steps, cfg, sampler, clip_skip]

    def request(self, values: Sequence[Any], prompt: str = "", seed: int = 0) -> GenerationRequest:
        """The request that the fields describe.

        Raises:
            UserError: a number is missing.
        """
        named = dict(zip(FIELDS, values, strict=True))
        for name, value in named.items():
            if value is None:
                raise UserError(f"{self.title}: {name.replace('_', ' ')} is empty", fix="Type a number")
        bounds.check_text(prompt, f"{self.title} prompt")
        bounds.check_number(seed, f"{self.title} seed", *bounds.SEED)
        bounds.check_settings(SimpleNamespace(**named), f"{self.title} ")
        whole = {name: int(named[name]) for name in WHOLE}
        return GenerationRequest(**{**named, **whole, "prompt": prompt, "seed": seed})

    def values(self, request: GenerationRequest) -> list[Any]:
        """The values of all fields for a request: :meth:`request` the other way round."""
        return [getattr(request, name) for name in FIELDS]

    def sized(self, width: int, height: int, clip_skip: int = 1) -> list[Any]:
        """Updates of all fields for another size and clip skip."""
        new = {"width": width, "height": height, "clip_skip": clip_skip}
        return [gr.update(value=new[name]) if name in new else gr.update() for name in FIELDS]

    def trained_at(self, metadata: Mapping[str, str]) -> list[Any]:
        """Updates of all fields to the size and the clip skip that a LoRA was trained at.

        Args:
            metadata: of the file: ``modelspec.resolution`` (``768x512``), else kohya's ``ss_resolution``
                (``(512, 512)``), and ``ss_clip_skip``, 1 where it says none. Without a size all stays as it is.
        """
        size = metadata.get("modelspec.resolution") or metadata.get("ss_resolution", "")
        sides = [int(side) for side in re.split("[^0-9]+", size) if side]
        if not sides:
            return [SKIP] * len(FIELDS)
        skip = metadata.get("ss_clip_skip", "")
        return self.sized(sides[0], sides[-1], int(skip) if skip.isdecimal() else 1)

    def recorded(self, settings: Mapping[str, Any], samplers: Sequence[str]) -> list[Any]:
        """Updates of all fields to what a record of an earlier request says.

        Args:
            settings: the request as a dictionary; what it lacks stays as it is.
            samplers: those there are now; another one would be refused.
        """
        known = {name: settings[name] for name in FIELDS if name in settings}
        if known.get("sampler") not in samplers:
            known.pop("sampler", None)
        return [gr.update(value=known[name]) if name in known else gr.update() for name in FIELDS]

    def _text(self, name: str, label: str, value: str) -> Any:
        return gr.Textbox(value, label=f"{self.title} {label}", elem_id=f"{self.prefix}_{name}", interactive=True)

    def _number(self, name: str, label: str, value: float) -> Any:
        exact = {} if name == "cfg" else {"precision": 0}
        return gr.Number(
            value,
            label=f"{self.title} {label}",
            elem_id=f"{self.prefix}_{name}",
            interactive=True,
            min_width=90,
            **exact,
        )
