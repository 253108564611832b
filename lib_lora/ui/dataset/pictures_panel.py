"""Crop, cut, mirror, enlarge, erase, mask: always a copy beside the original."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import gradio as gr

from lib_lora.access import changes
from lib_lora.dataset.buckets import bucket_for
from lib_lora.dataset.caption import split_tags
from lib_lora.dataset.collection.change import Change
from lib_lora.dataset.collection.moving import set_aside
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.config import DatasetConfig
from lib_lora.dataset.pictures.area import bounds, parse_area
from lib_lora.dataset.pictures.crops import Box, box_around, box_of_ratio, figures, plan_crops
from lib_lora.dataset.pictures.erase import plan_erased
from lib_lora.dataset.pictures.flips import plan_mirrored
from lib_lora.dataset.pictures.masks import plan_alpha_masks, plan_area_masks
from lib_lora.dataset.pictures.upscale import plan_upscaled
from lib_lora.errors import UserError
from lib_lora.ui import html
from lib_lora.ui.actions import panel
from lib_lora.ui.dataset.pages import Connector
from lib_lora.ui.dataset.panel import Panel, View
from lib_lora.ui.dataset.views import text

RATIOS = {"free": 0.0, "1 : 1": 1.0, "2 : 3": 2 / 3, "3 : 2": 1.5, "3 : 4": 0.75, "4 : 3": 4 / 3, "9 : 16": 9 / 16}
PLAIN = ("Lanczos",)  # upscalers without a network
CANVAS = '<div class="lw-canvas"><img src="{url}" alt="{name}" draggable="false"><canvas></canvas></div>'


class PicturesPanel(Panel):
    """The current picture to draw on, and what can be done to it or to all chosen ones."""

    name, key, follows = "Pictures", "pictures", True

    def build(self) -> None:
        """The picture to draw on, and what can be done with it or with all that are chosen."""
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                with gr.Row(elem_classes=["lw-fields"]):
                    self.tool = gr.Dropdown(
                        choices=["box", "brush"],
                        value="box",
                        label="Draw with",
                        elem_id="lw_ds_tool",
                        interactive=True,
                    )
                    self.brush = gr.Slider(1, 20, value=4, step=1, label="Brush (% of width)", elem_id="lw_ds_brush")
                    self.clear = gr.Button("Clear", elem_id="lw_ds_area_clear", size="sm", min_width=70, scale=0)
                self.canvas = panel("lw_ds_canvas")
                self.area = gr.Textbox(label="Area", elem_id="lw_ds_area", elem_classes=["lw-hidden"])
            with gr.Column(scale=2, min_width=280):
                self._build_actions()

    def _build_actions(self) -> None:
        self.aside = gr.Checkbox(
            value=True,
            label="Set the originals aside",
            info="They go to .originals and come back with Undo",
            elem_id="lw_ds_originals",
        )
        with gr.Row(elem_classes=["lw-fields"]):
            self.ratio = gr.Dropdown(
                choices=list(RATIOS), value="free", label="Ratio", elem_id="lw_ds_ratio", interactive=True
            )
            self.keep = gr.Textbox(label="Keep left/right in", info="Such as the trigger", elem_id="lw_ds_keep")
        with gr.Row(elem_classes=["lw-ds-buttons"]):
            self.crop = gr.Button("Crop to the area …", elem_id="lw_ds_crop", variant="primary")
            self.erase = gr.Button("Erase the area …", elem_id="lw_ds_erase")
            self.mask_in = gr.Button("Mask: learn the area …", elem_id="lw_ds_mask_in")
            self.mask_out = gr.Button("Mask: ignore the area …", elem_id="lw_ds_mask_out")
            self.sheet = gr.Button("Cut the sheet into figures …", elem_id="lw_ds_sheet")
        gr.HTML("<p class='lw-quiet'>For all chosen images:</p>", elem_classes=["lw-html"])
        with gr.Row(elem_classes=["lw-fields"]):
            upscalers = self.session.workbench.host.upscalers()
            self.upscaler = gr.Dropdown(
                choices=upscalers, value=upscalers[0], label="Upscaler", elem_id="lw_ds_upscaler", interactive=True
            )
            self.least = gr.Number(value=768, precision=0, label="Shorter side (px)", elem_id="lw_ds_least")
        with gr.Row(elem_classes=["lw-ds-buttons"]):
            self.upscale = gr.Button("Enlarge small images …", elem_id="lw_ds_upscale")
            self.mirror = gr.Button("Mirrored copies …", elem_id="lw_ds_mirror")
            self.buckets = gr.Button("Crop to ratio or buckets …", elem_id="lw_ds_buckets")
            self.face = gr.Button("Crop around faces …", elem_id="lw_ds_face_crop")
            self.alpha = gr.Button("Masks from transparency …", elem_id="lw_ds_mask_alpha")
        self.message = panel("lw_ds_pictures_message")

    def connect(self, on: Connector) -> None:
        """Buttons of the dry runs."""
        area, all_of_them = [self.area, self.aside], [self.aside]
        on(self.crop.click, self.do_crop, area, self.message)
        on(self.erase.click, self.do_erase, area, self.message)
        on(self.mask_in.click, partial(self.do_mask, True), [self.area], self.message)
        on(self.mask_out.click, partial(self.do_mask, False), [self.area], self.message)
        on(self.sheet.click, self.do_sheet, all_of_them, self.message)
        on(self.upscale.click, self.do_upscale, [self.upscaler, self.least, self.aside], self.message)
        on(self.mirror.click, self.do_mirror, [self.keep], self.message)
        on(self.buckets.click, self.do_buckets, [self.ratio, self.aside], self.message)
        on(self.face.click, self.do_faces, [self.ratio, self.aside], self.message)
        on(self.alpha.click, self.do_alpha, [], self.message, busy="Reading the pictures …")

    def views(self) -> list[View]:
        """The canvas."""
        return [(self.canvas, self._canvas)]

    # -- the marked area of the current picture, or of all marked ones ------------------------------------------------

    @changes
    def do_crop(self, area: str, aside: bool) -> str:
        """Dry run: cut to what was drawn."""
        pictures, shapes = self._current(), parse_area(area)
        return self._propose(plan_crops([(p, bounds(shapes, p.size)) for p in pictures]), pictures, aside)

    @changes
    def do_erase(self, area: str, aside: bool) -> str:
        """Dry run: fill what was drawn from around it."""
        pictures = self._current()
        return self._propose(plan_erased(pictures, parse_area(area)), pictures, aside)

    @changes
    def do_mask(self, inside: bool, area: str) -> str:
        """Dry run: a mask of what was drawn; with ``inside`` that is what counts, else the rest."""
        return self._propose(plan_area_masks(self._current(), parse_area(area), inside), (), False)

    @changes
    def do_sheet(self, aside: bool) -> str:
        """Dry run: a picture for each figure of a sheet."""
        picture = self.session.current_picture()
        parts = [(picture, box) for box in figures(picture.path)]
        if len(parts) < 2:
            raise UserError("No separate figures were found", where=picture.path, fix="Crop them by hand")
        return self._propose(plan_crops(parts), [picture], aside)

    # -- all chosen pictures ------------------------------------------------------------------------------------------

    @changes
    def do_upscale(self, upscaler: str, least: float | None, aside: bool) -> str:
        """Dry run: enlarge those whose shorter side is below ``least`` pixels."""
        pictures, host = self.session.chosen(), self.session.workbench.host
        side = int(least or 0)
        if side < 64:
            raise UserError("The shorter side is too small", where="Shorter side", fix="For example 768")
        change = plan_upscaled(pictures, side, partial(host.upscale, upscaler), quick=upscaler in PLAIN)
        return self._propose(change, [p for p in pictures if min(p.size) < side], aside)

    @changes
    def do_mirror(self, keep: str) -> str:
        """Dry run: mirrored copies, in whose tags left and right change, but for those in ``keep``."""
        change = plan_mirrored(self.session.chosen(), split_tags(keep or ""))
        return self._propose(change, (), False)

    @changes
    def do_buckets(self, ratio: str, aside: bool) -> str:
        """Dry run: cut to a ratio of sides, or to that of each one's bucket."""
        config = DatasetConfig(folders=())
        parts = [
            (p, box_of_ratio(p.size, RATIOS[ratio] or _aspect(bucket_for(p.size, config))))
            for p in self.session.chosen()
        ]
        return self._crops([(p, box) for p, box in parts if box != (0, 0, *p.size)], aside)

    @changes
    def do_faces(self, ratio: str, aside: bool) -> str:
        """Dry run: cut around the faces that were found."""
        faces = self.session.faces
        found = [picture for picture in self.session.chosen() if picture.path in faces]
        if not found:
            raise UserError("No face is known", fix="Press “Look for faces” under Classes and repeats first")
        parts = []
        for picture in found:
            width, height = picture.size
            left, top, right, bottom = faces[picture.path]
            face = round(left * width), round(top * height), round(right * width), round(bottom * height)
            parts.append((picture, box_around(face, picture.size, RATIOS[ratio] or 1.0)))
        return self._crops(parts, aside)

    @changes
    def do_alpha(self) -> str:
        """Dry run: masks from the pictures' own transparency."""
        return self._propose(plan_alpha_masks(self.session.chosen()), (), False)

    # -- small parts --------------------------------------------------------------------------------------------------

    def _current(self) -> list[Picture]:
        """The marked pictures, else the current one."""
        return self.session.chosen() if self.session.marked else [self.session.current_picture()]

    def _crops(self, parts: Sequence[tuple[Picture, Box]], aside: bool) -> str:
        return self._propose(plan_crops(parts), [picture for picture, _ in parts], aside)

    def _propose(self, change: Change, originals: Sequence[Picture], aside: bool) -> str:
        if aside and originals:
            change = set_aside(change, originals, self.session.opened().originals)
        return html.message(self.session.propose(change))

    def _canvas(self) -> Any:
        try:
            picture = self.session.current_picture()
        except UserError:
            return html.hint("Click a picture above; it will be shown here to draw on.")
        url = self.album.preview(picture)
        return CANVAS.format(url=text(url), name=text(picture.path.name))


def _aspect(size: tuple[int, int]) -> float:
    return size[0] / size[1]
