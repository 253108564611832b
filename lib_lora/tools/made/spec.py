"""What is drawn, and the file that says so beside the pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lib_lora.adapters import formula
from lib_lora.adapters.file import model_hash
from lib_lora.bounds import LIST, SEED, check_number, check_settings, check_text
from lib_lora.errors import UserError
from lib_lora.files import PART, write_text
from lib_lora.lora_files import Folders, find_lora
from lib_lora.models.base import GenerationRequest
from lib_lora.small_files import listed, mapping, record, text, tolerated, whole

RECORD = "pictures.json"
EARLIER = "base_style.json"  # what it was called when only base styles were drawn
MOST = 2_000  # pictures of one drawing


@dataclass(frozen=True)
class PictureSpec:
    """Pictures with captions, the raw material of a training set.

    Args:
        prompts: captions, used in turn; they are drawn to the letter, and nothing in them is a prompt's syntax.
        count: how many pictures.
        settings: size, steps, sampler and all else; its prompt and seed do not count.
        seed: of the first picture; each next one counts up.
        loras: that draw, ``NAME:weight:BLOCKS,…``; empty: the checkpoint alone.
        before: put before each prompt as it stands, in the host's syntax; in no caption. For words of quality.
        trigger: put first in each prompt and in each caption.
    """

    prompts: tuple[str, ...]
    count: int = 40
    settings: GenerationRequest = field(default_factory=lambda: GenerationRequest(""))
    seed: int = 1
    loras: str = ""
    before: str = ""
    trigger: str = ""

    def check(self) -> PictureSpec:
        """Itself, if it can be drawn.

        Raises:
            UserError: no prompt, no picture, LoRAs that cannot be read, or a value out of bounds.
        """
        if not self.prompts or any(not prompt.strip() for prompt in self.prompts):
            raise UserError("Each picture needs tags", where="prompts", fix="Write at least one line of tags.")
        if self.count < 1:
            raise UserError("At least one picture is needed", where="count", fix="20 to 60 are usual.")
        check_number(self.count, "count", 1, MOST)
        check_number(self.seed, "seed", *SEED)
        check_settings(self.settings)
        if len(self.prompts) > LIST:
            raise UserError(f"These are {len(self.prompts):,} prompts", where="prompts", fix=f"Give at most {LIST:,}.")
        for name, value in (("prompts", "\n".join(self.prompts)), ("before", self.before), ("trigger", self.trigger)):
            check_text(value, name, LIST * 1_000 if name == "prompts" else 2_000)
        self.terms()
        return self

    def terms(self) -> list[formula.Term]:
        """The LoRAs that draw.

        Raises:
            UserError: the formula cannot be read.
        """
        try:
            return formula.parse(self.loras) if self.loras.strip() else []
        except UserError as error:
            raise UserError(error.what, where="loras", fix="Write for example MIRA:0.8, or A:1,B:0.5.") from error

    def captions(self) -> list[str]:
        """One for each picture."""
        told = [", ".join(filter(None, (self.trigger.strip(), prompt.strip()))) for prompt in self.prompts]
        return [told[i % len(told)] for i in range(self.count)]

    def requests(self, literal: Callable[[str], str] = str) -> list[GenerationRequest]:
        """One for each picture; errors as :meth:`check`.

        Args:
            literal: :meth:`lib_lora.models.base.Host.literal`.
        """
        self.check()
        prompts = (", ".join(filter(None, (self.before.strip(" ,"), literal(text)))) for text in self.captions())
        return [
            replace(self.settings, prompt=prompt, seed=self.seed + i, weights=()) for i, prompt in enumerate(prompts)
        ]


def is_begun(folder: Path) -> bool:
    """Whether pictures were begun in ``folder``, though their record may be damaged by now."""
    return _record(folder).is_file()


def read_spec(folder: Path) -> tuple[str, PictureSpec] | None:
    """The model and the settings that the pictures in ``folder`` are made with; None where there are none."""
    found = tolerated(_record(folder), _read, None)
    return None if found is None else found[:2]


def read_hashes(folder: Path) -> dict[str, str]:
    """LoRA -> hash of its file when drawing began."""
    found = tolerated(_record(folder), _read, None)
    return {} if found is None else found[2]


def claim(folder: Path, model: str, spec: PictureSpec, loras: Folders) -> None:
    """Record what the pictures of ``folder`` are made from, or make sure that it is the same.

    Raises:
        UserError: pictures of something else are there, or files of others, or a LoRA is gone.
    """
    hashes = {term.name: model_hash(find_lora(term.name, loras)) for term in spec.terms()}
    path = _record(folder)
    if path.exists():
        if tolerated(path, _read, None) != (model, spec, hashes):
            what = "There are pictures of another model, other LoRAs or other settings here"
            raise UserError(what, where=folder, fix="Choose another name, or delete the folder.")
    elif folder.is_file():
        raise UserError("There is a file of this name already", where=folder, fix="Choose another name")
    elif folder.exists() and any(path.suffix != PART for path in folder.iterdir()):  # one that was killed has begun it
        raise UserError("The folder is not empty", where=folder, fix="Choose a new folder.")
    else:
        content = {"model": model, **asdict(spec), "hashes": hashes}
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False))


def _record(folder: Path) -> Path:
    earlier = folder / EARLIER
    return earlier if earlier.exists() else folder / RECORD


def _read(content: Any) -> tuple[str, PictureSpec, dict[str, str]]:
    row = mapping(content)
    settings = record(GenerationRequest, {k: v for k, v in mapping(row["settings"]).items() if k != "weights"})
    words = {name: text(row.get(name, "")) for name in ("loras", "before", "trigger")}
    prompts = tuple(listed(row["prompts"], text))
    spec = PictureSpec(prompts, whole(row["count"], 1), settings, whole(row["seed"]), **words)
    hashes = {name: text(value) for name, value in mapping(row.get("hashes", {})).items()}
    return text(row["model"]), spec, hashes
