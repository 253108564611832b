"""Masks for training: white is learned, black is not; ``name-masklabel.png`` beside the picture (OneTrainer's form)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from lib_lora.dataset.collection.change import Change, Make, Operation, Write
from lib_lora.dataset.collection.moving import derived
from lib_lora.dataset.collection.opening import MASK_ENDING
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.images import has_alpha, load_rgba
from lib_lora.dataset.pictures.area import Shape, drawn

Draw = Callable[[Picture], Image.Image]


def plan_area_masks(pictures: Sequence[Picture], shapes: tuple[Shape, ...], learn_inside: bool) -> Change:
    """The same marked area for each picture: only it is learned, or everything but it."""

    def draw(picture: Picture) -> Image.Image:
        area = drawn(shapes, picture.size)
        return area if learn_inside else ImageOps.invert(area)

    return _plan(pictures, draw, "Masks from an area")


def plan_alpha_masks(pictures: Sequence[Picture]) -> Change:
    """What is opaque is learned. Pictures without transparency get no mask."""
    clear = [picture for picture in pictures if has_alpha(picture.path)]
    notes = (f"Without transparency, so without a mask: {len(pictures) - len(clear)}",)
    change = _plan(clear, lambda picture: load_rgba(picture.path).getchannel("A"), "Masks from transparency")
    return change if len(clear) == len(pictures) else Change(change.title, change.operations, change.counts, (), notes)


def mask_path(picture: Picture) -> Path:
    """The mask that it has, else the one that it would get."""
    return picture.mask or derived(picture.path, MASK_ENDING, ".png")


def _plan(pictures: Sequence[Picture], draw: Draw, title: str) -> Change:
    made = [_operation(picture, draw) for picture in pictures]
    replaced = sum(isinstance(operation, Write) for operation in made)
    counts = {"masks made": len(made) - replaced, "masks replaced": replaced}
    return Change(title, tuple(made), {name: count for name, count in counts.items() if count})


def _operation(picture: Picture, draw: Draw) -> Operation:
    path = mask_path(picture)
    if not path.exists():
        return Make(path, partial(_write, draw, picture))
    content = BytesIO()
    draw(picture).save(content, "PNG")
    return Write(path, content.getvalue())


def _write(draw: Draw, picture: Picture, target: Path) -> None:
    draw(picture).save(target, "PNG")
