"""Drawing what a spec asks for: a few pictures at a time, each kept as soon as it is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from lib_lora.adapters.block_presets import load_presets
from lib_lora.adapters.network import Network
from lib_lora.errors import UserError
from lib_lora.files import write_text
from lib_lora.models.base import GenerationRequest, Host
from lib_lora.tools.made.spec import PictureSpec, claim, is_begun, read_hashes, read_spec
from lib_lora.tools.pictures import generate_missing
from lib_lora.training.applied import networks_of


@dataclass(frozen=True)
class PictureDone:
    """Yielded for each picture; ``done`` of ``total`` are there. ``kept``: it was there already."""

    path: Path
    image: Image.Image
    kept: bool
    done: int
    total: int


def generate_dataset(
    host: Host, spec: PictureSpec, folder: Path, cancelled: Callable[[], bool] | None = None
) -> Generator[PictureDone, None, Path]:
    """Draw the pictures and write the captions that ``folder`` lacks; returns ``folder``, ready as ``data_dir``.

    A batch that runs out of memory is halved by the host. Each PNG says what it was made from.

    Raises:
        UserError: no model, an empty spec, a LoRA that is missing or does not fit, or ``folder`` holds pictures of
            another model or of other settings, or goes meanwhile.
        Cancelled: as ``host.generate``; what is done stays.
    """
    requests = spec.requests(host.literal)
    info = host.info()
    if info is None:
        raise UserError("No model is loaded", fix="Choose a checkpoint first.")
    claim(folder, info.name, spec, host.paths.lora_folders)
    paths = [folder / f"{number:04}.png" for number in range(1, len(requests) + 1)]
    for path, caption in zip(paths, spec.captions(), strict=True):
        if not (beside := path.with_suffix(".txt")).exists():  # else it may have been edited
            write_text(beside, caption)
    hashes = read_hashes(folder)
    recipes = {
        path: json.dumps(recipe(info.name, spec, request, caption, hashes), ensure_ascii=False)
        for path, request, caption in zip(paths, requests, spec.captions(), strict=True)
    }
    wanted = list(zip(paths, requests, strict=True))
    made = generate_missing(host, wanted, partial(_networks, host, spec), cancelled, recipes)
    for done, picture in enumerate(made, start=1):
        yield PictureDone(picture.path, picture.image, picture.kept, done, len(paths))
        if not is_begun(folder):  # else the next picture would make it anew, and nobody could go on there
            raise UserError("The folder of the pictures is gone", where=folder, fix="Put it back, or draw them again")
    return folder


def recipe(
    model: str, spec: PictureSpec, request: GenerationRequest, caption: str, hashes: dict[str, str]
) -> dict[str, object]:
    """What one picture is made from, as plain values."""
    settings = {name: value for name, value in asdict(request).items() if name != "weights"}
    loras = [{**asdict(term), "hash": hashes.get(term.name, "")} for term in spec.terms()]
    return {"made": True, "model": model, "loras": loras, "caption": caption, **settings}


def pictures_in(folder: Path) -> list[Path]:
    """The pictures that are there already, in order."""
    return sorted(folder.glob("[0-9]*.png"))


def to_be_drawn(folder: Path) -> PictureSpec | None:
    """What is still to be drawn in ``folder``; None where nothing is, or it is no such folder."""
    begun = read_spec(folder)
    return begun[1] if begun is not None and not is_complete(folder, begun[1]) else None


def is_complete(folder: Path, spec: PictureSpec) -> bool:
    """Whether no picture of ``spec`` is missing."""
    return len(pictures_in(folder)) >= spec.count


def _networks(host: Host, spec: PictureSpec) -> Sequence[Network]:
    terms = spec.terms()
    if not terms:
        return ()
    presets = load_presets(host.paths.places.block_presets)
    networks = networks_of(terms, host.paths.lora_folders, presets)
    for network, term in zip(networks, terms, strict=True):
        network.lbw = term.blocks or ""
    return networks
