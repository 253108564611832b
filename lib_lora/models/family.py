"""What is particular to one family of base models; each family is one file in :mod:`lib_lora.models.families`.

A family is named where two parts of the program talk about a model (``LoadedModel.family``, metadata), and asked for
everything else: nobody compares names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from lib_lora.errors import UserError

UNET = "lora_unet_"  # beginning of the keys of every denoiser's layers, U-Net or transformer


@dataclass(frozen=True)
class Place:
    """Where a layer of a file belongs.

    Attributes:
        key: our name of the layer.
        part, parts: a layer that some spellings split (q, k and v) is one for us; this is number ``part`` of ``parts``.
    """

    key: str
    part: int = 0
    parts: int = 1


class Names(Protocol):
    """How files call the layers of a denoiser."""

    def place(self, path: str) -> Place | None:
        """Where the layer called ``path`` belongs; None if the family has none of that name.

        Args:
            path: module path with underscores in any spelling, without a prefix: ``double_blocks_0_img_attn_qkv``.
        """

    def shares(self, key: str) -> tuple[int, ...]:
        """Rows of a layer's parts in proportion, for the layers that some spellings split; ``(1,)`` for the others."""


@dataclass(frozen=True)
class Blocks:
    """The blocks of a family, and how people list them.

    Attributes:
        names: of all blocks; the first stands for the text encoders and what else lies in no block.
        layouts: the lists that numbers are written for, the shortest first.
        patterns: (pattern of keys, block); the first that matches counts, and fields, as in ``IN{n:02}``, are filled
            with the pattern's groups, which are numbers.
        text: how many of the blocks are text encoders.
        also: other layouts of the same blocks, which relatives use.
        titles: what the blocks are called whose names begin alike, ``IN`` -> ``IN: layout``.
    """

    names: tuple[str, ...]
    layouts: tuple[tuple[str, ...], ...]
    patterns: tuple[tuple[re.Pattern[str], str], ...]
    text: int = 1
    also: tuple[tuple[str, ...], ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)

    @property
    def groups(self) -> dict[str, str]:
        """Beginning of the blocks' names -> title, in order."""
        beginnings = dict.fromkeys(re.sub(r"\d+$", "", name) for name in self.names)
        return {beginning: self.titles.get(beginning, beginning) for beginning in beginnings}

    @property
    def accepted(self) -> tuple[tuple[str, ...], ...]:
        """All lists of names that block weights may be written for."""
        return (*self.layouts, *self.also)

    def of(self, key: str) -> str | None:
        """The block that the layer called ``key`` lies in; None if the family has no such block."""
        for pattern, block in self.patterns:
            if match := pattern.match(key):
                groups = {name: int(value) for name, value in match.groupdict().items() if value}
                found = block.format(**groups)
                return found if found in self.names else None
        return None

    def layout_for(self, keys: Iterable[str]) -> tuple[str, ...]:
        """The shortest layout that names every block of these layers; the last one where none does."""
        used = {self.of(key) for key in keys} - {None}
        return next((names for names in self.layouts if used <= set(names)), self.layouts[-1])


@dataclass(frozen=True)
class Kinds:
    """The kinds of layers in a block.

    Attributes:
        patterns: kind -> pattern searched in keys; the first that fits counts.
        rest: the kind of all other layers.
        aliases: other names of kinds, and of several at once.
    """

    patterns: Mapping[str, re.Pattern[str]]
    rest: str
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All kinds, in order."""
        return (*self.patterns, self.rest)

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """What a user may write -> the kinds it means."""
        return {**self.aliases, **{kind: (kind,) for kind in self.names}}

    def of(self, key: str) -> str:
        """The kind of the layer called ``key``."""
        return next((kind for kind, pattern in self.patterns.items() if pattern.search(key)), self.rest)


@dataclass(frozen=True)
class Trained:
    """Which layers a training adapts.

    Attributes:
        usual: matched at the beginning of a key: what the presets of layers choose among; all others are never trained
            by them (modulation, embedders, norms, refiners).
        attention: searched in those, for attention alone.
        convolutions: matched at the beginning of a key: residual blocks and what belongs to them, for LoCon.
        last: searched in keys, with the block's number as ``n``: layers that do nothing in the last block, as nobody
            reads what they say there. They are not trained in it.
    """

    usual: re.Pattern[str]
    attention: re.Pattern[str]
    convolutions: re.Pattern[str] | None = None
    last: re.Pattern[str] | None = None

    def idle(self, keys: Iterable[str]) -> set[str]:
        """Those of a model's layers that do nothing."""
        found = {key: int(match["n"]) for key in keys if self.last and (match := self.last.search(key))}
        return {key for key, number in found.items() if number == max(found.values())}


@dataclass(frozen=True)
class Latents:
    """How pixels become what the model sees: z' = (z − shift) · scale, per channel where mean and std are given.

    Attributes:
        channels, factor: of a latent; pixels to a latent along one side.
        scale, shift: of the whole.
        mean, std: per channel; z' = (z − mean) / std then.
    """

    channels: int = 4
    factor: int = 8
    scale: float = 1.0
    shift: float = 0.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True)
class Marking:
    """What files of a family say about their base model.

    Attributes:
        version: ``ss_base_model_version``.
        architecture: ``modelspec.architecture`` without ``/lora``.
        implementation: ``modelspec.implementation``.
        v2: ``ss_v2``, kohya's switch.
        versions, architectures: beginnings by which files of other programs are known.
    """

    version: str
    architecture: str
    implementation: str
    v2: bool = False
    versions: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()

    def fits(self, metadata: Mapping[str, str]) -> bool:
        """Whether a file's metadata name this family."""
        version = metadata.get("ss_base_model_version", "").lower()
        architecture = metadata.get("modelspec.architecture", "").lower()
        return version.startswith(self.versions or (self.version.lower(),)) or architecture.startswith(
            self.architectures or (self.architecture.lower(),)
        )


@dataclass(frozen=True, eq=False, repr=False)
class Family:
    """One family of base models.

    Attributes:
        name: ``"sd1"``.
        label, short: for the user, ``"Stable Diffusion 1.x"`` and ``"SD1"``.
        order: which of two families a file is taken for that may be of either: the one with the lower number.
        names: of the layers of its denoiser.
        text_encoders: beginning of keys -> (pattern of what follows, our beginning).
        blocks, kinds, trained: of layers.
        marks: patterns of keys, in any spelling, that a relative's files have less often.
        written: a spelling that is usual for this family, where nothing else tells it from a relative.
        widths: pattern searched in keys -> (outputs, inputs) of layers that tell it from its relatives; 0 is any.
        predictions: of its checkpoints, the usual first: ``"epsilon"``, ``"v"``, ``"flow"``.
        shift: of the times of a flow, when it is sampled.
        latents: how it sees pictures.
        sizes: whether it is told the sizes of original, crop and target.
        text_is_trained: whether trainers adapt its text encoders; else their output is computed once and kept.
        clip_skip: whether the layer of the text encoder can be chosen.
        chunks: whether captions are read in chunks of 75 tokens, and a shorter one is filled up with empty chunks; else
            it is filled up with rows that do not count.
        bucket_step: pixels.
        marking: of its files; ``markings`` by prediction, where it differs.
        preset: name of the training preset to begin with.
        adopts: family -> for each of our blocks, the number of the block of that family whose layers it takes.
        guide: whether the guides' rules about blocks were found on it.
        programs: that run its checkpoints and read its files as they are written here.
    """

    name: str
    label: str
    short: str
    order: int
    names: Names
    text_encoders: Mapping[str, tuple[str, str]]
    blocks: Blocks
    kinds: Kinds
    trained: Trained
    marking: Marking
    latents: Latents
    markings: Mapping[str, Marking] = field(default_factory=dict)
    marks: tuple[re.Pattern[str], ...] = ()
    written: re.Pattern[str] | None = None
    widths: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    predictions: tuple[str, ...] = ("flow",)
    shift: float = 1.0
    sizes: bool = False
    text_is_trained: bool = False
    clip_skip: bool = False
    chunks: bool = False
    bucket_step: int = 64
    preset: str = ""
    adopts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    guide: bool = False
    programs: tuple[str, ...] = ("Forge Neo", "ComfyUI")

    def __repr__(self) -> str:
        return f"Family({self.name!r})"

    def __str__(self) -> str:
        return self.label

    @property
    def prediction(self) -> str:
        """What most of its checkpoints predict."""
        return self.predictions[0]

    def marking_for(self, prediction: str) -> Marking:
        """What files of checkpoints with this prediction say."""
        return self.markings.get(prediction, self.marking)

    def place(self, key: str) -> Place | None:
        """Where a layer belongs whose key begins with ``lora_unet_`` or ``lora_te…_`` and goes on in any spelling."""
        return _place(self, key)

    def block_of(self, key: str) -> str:
        """The block of a layer.

        Raises:
            UserError: the family has no such layer.
        """
        block = self.blocks.of(key)
        if block is None:
            raise UserError(
                f"{self.label} has no such layer, so it lies in no block",
                where=key,
                fix="Use the LoRA without block weights.",
            )
        return block


@lru_cache(maxsize=1 << 16)  # a model's keys are asked for again and again
def _place(family: Family, key: str) -> Place | None:
    if key.startswith(UNET):
        return family.names.place(key.removeprefix(UNET))
    for prefix, (pattern, ours) in family.text_encoders.items():
        path = key.removeprefix(prefix)
        if path != key and re.match(pattern, path):
            return Place(ours + path)
    return None
