"""What one tuning by taste is about: the LoRAs, where it starts, and the pictures that are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lib_lora.models.base import GenerationRequest

from ...adapters.blocks import BlockWeights, named_blocks
from ...adapters.file import LoraFile
from ...bounds import SEED, WEIGHT, check_number, check_settings, check_text
from ...errors import UserError
from ...small_files import listed, mapping, record, text, whole
from .space import Tuned


@dataclass(frozen=True)
class Recipe:
    """What is tuned, as the page and the file write it.

    Args:
        lora, weight, blocks: where tuning starts; block weights as text.
        base, base_blocks: the LoRA that is subtracted, and its block weights; empty: none.
        locked: blocks that stay as they are, as text such as ``BASE IN01-IN02``.
        whole: whether the weight of the LoRA is tuned.
        prompts, seeds: of the pictures, taken in turn.
        pictures: on each side of a question, of different prompts as far as there are; more make an answer surer.
        settings: size, steps and all else; its prompt and seed do not count.
    """

    lora: str
    weight: float = 1.0
    blocks: str = "ALL"
    base: str = ""
    base_blocks: str = ""
    locked: str = ""
    whole: bool = True
    prompts: tuple[str, ...] = ("",)
    seeds: tuple[int, ...] = (1, 2, 3, 4)
    pictures: int = 1
    settings: GenerationRequest = field(default_factory=lambda: GenerationRequest(""))

    def __post_init__(self) -> None:
        if not self.prompts or not all(prompt.strip() for prompt in self.prompts):
            raise UserError("Pictures need a prompt", where="Prompts", fix="Write one a line; they are taken in turn")
        for prompt in self.prompts:
            check_text(prompt, "Prompts")
        check_number(self.pictures, "Pictures on each side", 1, 16)
        check_number(self.weight, "LoRA weight", *WEIGHT)
        if len(set(self.seeds)) < (needed := -(-self.pictures // len(self.prompts))):
            fix = f"Give at least {needed}, such as 1, 2, 3, 4"
            raise UserError("There are too few different seeds", where="Seeds", fix=fix)
        for seed in self.seeds:
            check_number(seed, "Seeds", *SEED)
        check_settings(self.settings)

    def requests(self, turn: int) -> list[GenerationRequest]:
        """The pictures on each side of question ``turn``, from 0: all prompts, then the next seeds."""
        found = []
        for number in range(turn * self.pictures, (turn + 1) * self.pictures):
            round_, prompt = divmod(number, len(self.prompts))
            seed = self.seeds[(round_ + prompt) % len(self.seeds)]
            found.append(replace(self.settings, prompt=self.prompts[prompt], seed=seed, weights=()))
        return found

    def tuned(self, file: LoraFile, base: LoraFile | None, presets: Mapping[str, str]) -> Tuned:
        """What that means for the files of the two LoRAs.

        Raises:
            UserError: block weights or locked blocks that the family of a file does not have, or nothing to tune.
        """
        of = file.family
        blocks = BlockWeights.parse(self.blocks, presets, of)
        locked = frozenset(named_blocks(self.locked, of)) if self.locked.strip() else frozenset()
        present = {of.blocks.of(layer) or of.blocks.names[0] for layer in file.modules}
        layout = tuple(name for name in of.blocks.layout_for(file.modules) if name in present)
        subtracted = BlockWeights.parse(self.base_blocks or "ALL", presets, base.family) if base else None
        tuned = Tuned(self.lora, self.weight, blocks, layout, locked, self.whole, self.base if base else "", subtracted)
        if not tuned.dimensions():
            fix = "Unlock a block, or let the weight of the LoRA be tuned"
            raise UserError("All is locked, there is nothing to tune", where=self.lora, fix=fix)
        return tuned

    def plain(self) -> dict[str, Any]:
        """For the file; :meth:`read` takes it back."""
        return asdict(self)

    @classmethod
    def read(cls, value: Any) -> Recipe:
        """From the parsed file; ValueError and the like where it makes no sense."""
        given = dict(mapping(value))
        settings = dict(mapping(given.pop("settings")))
        settings.pop("weights", None)
        prompts, seeds = listed(given.pop("prompts"), text), listed(given.pop("seeds"), whole)
        flat = record(_Flat, given)
        try:
            return cls(**vars(flat), prompts=tuple(prompts), seeds=tuple(seeds), settings=_request(settings))
        except UserError as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True)
class _Flat:
    """The plain values of :class:`Recipe`."""

    lora: str
    weight: float
    blocks: str
    base: str
    base_blocks: str
    locked: str
    whole: bool
    pictures: int


def _request(value: dict[str, Any]) -> GenerationRequest:
    return replace(record(_Settings, value).request(), weights=())


@dataclass(frozen=True)
class _Settings:
    prompt: str
    negative: str
    width: int
    height: int
    steps: int
    cfg: float
    seed: int
    sampler: str
    clip_skip: int

    def request(self) -> GenerationRequest:
        return GenerationRequest(**vars(self))
