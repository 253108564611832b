"""Pictures in PNG files: with their generation parameters, and generated only where they are missing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, PngImagePlugin

from lib_lora.models.base import GenerationRequest, Host

from ..adapters.network import Network
from ..errors import UserError
from ..files import atomic_write

BATCH = 8  # pictures between two looks at what the user wants; the host splits them further where memory is short
DAMAGE = (OSError, SyntaxError, ValueError)  # what Pillow raises at damaged files
PARAMETERS = "parameters"  # the PNG text chunk that web UIs read back
RECIPE = "lora_workbench"  # the one that says what a picture of a training set was made from


def save_png(image: Image.Image, path: str | Path) -> Path:
    """Write ``image``, whole or not at all, with what its ``info`` has of parameters and of a recipe."""
    path = Path(path)
    chunks = PngImagePlugin.PngInfo()
    for name in (PARAMETERS, RECIPE):
        if text := image.info.get(name):
            chunks.add_text(name, text)
    with atomic_write(path) as part:
        image.save(part, format="PNG", pnginfo=chunks)
    return path


def read_png(path: str | Path) -> Image.Image:
    """An RGB picture with its ``info``; the file is closed when this returns."""
    with Image.open(path) as image:
        image.load()
        picture = image.convert("RGB")
        picture.info = dict(image.info)
    return picture


def _kept(path: Path) -> Image.Image | None:
    """The picture in ``path``; None where there is none that can be read."""
    if not path.exists():
        return None
    try:
        return read_png(path)
    except DAMAGE:
        return None


@dataclass(frozen=True)
class Made:
    """A picture that is there now. ``kept``: it was there already."""

    path: Path
    image: Image.Image
    kept: bool


def generate_missing(
    host: Host,
    wanted: Sequence[tuple[Path, GenerationRequest]],
    networks: Callable[[], Sequence[Network]] = tuple,
    cancelled: Callable[[], bool] | None = None,
    recipes: Mapping[Path, str] | None = None,
) -> Iterator[Made]:
    """First the pictures that are there already, then the others, generated and written a few at a time.

    A picture that cannot be read, as after a crash of the whole machine, is made anew.

    Args:
        wanted: files and how to make them.
        networks: loads what to attach; called only if something is missing.
        recipes: of the files that keep one.

    Raises:
        UserError, Cancelled: as ``host.generate``; what is done stays.
    """
    missing = []
    for pair in wanted:
        if (image := _kept(pair[0])) is None:
            missing.append(pair)
        else:
            yield Made(pair[0], image, True)
    attached = networks() if missing else ()
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        images = host.generate([request for _, request in batch], attached, cancelled=cancelled)
        for (path, _), image in zip(batch, images, strict=True):
            image.info[RECIPE] = (recipes or {}).get(path, "")
            yield Made(save_png(image, path), image, False)


def fingerprint(host: Host, *inputs: object) -> str:
    """Twelve hexadecimal digits that change with the loaded model or with any of ``inputs`` (by their ``repr``).

    Models are told apart by name, size and time, without reading gigabytes.

    Raises:
        UserError: no model is loaded.
    """
    info = host.info()
    if info is None:
        raise UserError("No model is loaded", fix="Choose a checkpoint first.")
    model: list[str | int] = [info.name]
    if info.path is not None:
        stat = info.path.stat()
        model += [stat.st_size, stat.st_mtime_ns]
    return hashlib.sha256(repr((model, inputs)).encode()).hexdigest()[:12]
