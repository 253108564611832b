"""A LoRA as others take it: the file with its card, a model card, and pictures, in one folder or zip.

It appears whole or not at all: everything is written beside the place under a temporary name, which is renamed last.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from ..adapters.file import open_lora
from ..adapters.layers import outline
from ..adapters.loaders import applied_by, kinds_of
from ..errors import UserError
from ..file_sets import file_set, refuse_existing
from ..files import make_folder, move, naming_refusals, sha256_file, write_text
from ..names import check_name
from ..part_files import part_name
from ..training.run import Run
from .card_files import Card
from .examples import Example
from .export import export_lora
from .inspection import look_at
from .model_card import LICENCES, CardText, Shown, civitai, readme
from .pictures import PARAMETERS, save_png
from .prompt_loras import TAG

MOST_PICTURES = 20  # as many as Civitai takes at once
IMAGES = "images"


@dataclass(frozen=True)
class Publication:
    """What is published, as the user says it.

    Args:
        pictures: examples; the first is the cover.
        sheet: the grid as one picture; None for none.
        zipped: one file in place of a folder.
    """

    text: CardText
    pictures: Sequence[Example] = ()
    sheet: Path | None = None
    zipped: bool = False

    def check(self) -> None:
        """Raises UserError where something cannot be published as it is, naming the field."""
        check_name(self.text.name, "Name")
        if self.text.licence not in LICENCES:
            known = ", ".join(filter(None, LICENCES))
            raise UserError("There is no such licence", where="Licence", fix=f"Use one of {known}")
        if not -10 <= self.text.weight <= 10:
            raise UserError("The weight must be between -10 and 10", where="Use at weight", fix="1 is usual")
        if self.text.base and self.text.base.count("/") != 1:
            fix = "Write it as on its page: owner/name"
            raise UserError("This is no name of a model on Hugging Face", where="Base model", fix=fix)
        if len(self.pictures) > MOST_PICTURES:
            what = f"{len(self.pictures)} pictures are too many"
            raise UserError(what, where="Pictures", fix=f"Choose at most {MOST_PICTURES}")
        for example in self.pictures:
            if not example.path.is_file():
                raise UserError("This picture is gone", where=example.path, fix="Choose another one")


def publish(source: Path, folder: Path, wanted: Publication, run: Run | None = None) -> Path:
    """Write ``folder/NAME/`` or ``folder/NAME.zip``; returns it.

    It has the file with ``NAME.json`` and ``NAME.preview.png`` for web UIs, ``README.md`` for Hugging Face,
    ``civitai.md`` with what its form asks for, and the pictures with their parameters below ``images/``. The tensors
    are those of ``source``, bit for bit.

    Args:
        run: that made the LoRA; it remembers that something of it was published.

    Raises:
        UserError: something of that name is there, ``source`` is damaged, or a field cannot be used.
    """
    wanted.check()
    name = wanted.text.name
    target = folder / (f"{name}.zip" if wanted.zipped else name)
    refuse_existing([target])
    make_folder(folder)
    part = folder / part_name()
    try:
        with naming_refusals(target):
            part.mkdir()
            _fill(part, source, wanted)
            if wanted.zipped:
                with file_set([target]) as (archive,):
                    _zip(part, archive, name)
            else:
                refuse_existing([target])
                try:
                    move(part, target)
                except OSError:
                    refuse_existing([target])  # somebody else was faster
                    raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    if run is not None:
        with suppress(UserError):  # it was deleted meanwhile
            run.set_published(name, target)
    return target


def _fill(folder: Path, source: Path, wanted: Publication) -> None:
    name, text = wanted.text.name, wanted.text
    card = Card(text.trigger, text.weight, text.description)
    cover = _opened(wanted.pictures[0]) if wanted.pictures else None
    file = export_lora(source, folder / f"{name}.safetensors", card, cover)[0]
    shown = [_put(example, folder / IMAGES, number, source, name) for number, example in enumerate(wanted.pictures, 1)]
    text = replace(text, pictures=tuple(shown))
    if wanted.sheet is not None:
        shutil.copyfile(wanted.sheet, _made(folder / IMAGES) / "grid.png")
        text = replace(text, sheet=f"{IMAGES}/grid.png")
    facts = look_at(file)
    with_diffusers = kinds_of(outline(open_lora(file).modules)) <= applied_by("diffusers")
    write_text(folder / "README.md", readme(text, facts, sha256_file(file), diffusers=with_diffusers))
    write_text(folder / "civitai.md", civitai(text, facts))


def _put(example: Example, folder: Path, number: int, source: Path, name: str) -> Shown:
    """Write one picture, with its parameters: in them the LoRA has the name that it is published under."""
    picture = _opened(example)
    parameters = TAG.sub(lambda tag: f"<lora:{name}{tag[2]}>" if tag[1] == source.stem else tag[0], example.parameters)
    if parameters:
        picture.info[PARAMETERS] = parameters
    path = save_png(picture, _made(folder) / f"{number:02}.png")
    return Shown(f"{IMAGES}/{path.name}", example.prompt, example.negative)


def _opened(example: Example) -> Image.Image:
    try:
        with Image.open(example.path) as image:
            picture = image.convert("RGB")
            picture.info = {PARAMETERS: text} if (text := image.info.get(PARAMETERS)) else {}
            return picture
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError("This picture cannot be read", where=example.path, fix="Choose another one") from error


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _zip(folder: Path, archive: Path, name: str) -> None:
    """Stored, not compressed: tensors and pictures do not become smaller."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            packed.write(path, f"{name}/{path.relative_to(folder).as_posix()}")
