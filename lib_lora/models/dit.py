"""What the diffusion transformers share: layers in stacks of equal blocks, called differently by every program.

Our name of a layer is ``lora_unet_`` and its path in the original code, for that is what every loader of these models
reads. Other programs have diffusers' paths, in which q, k and v (and an MLP beside them) are layers of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lib_lora.models.family import UNET, Blocks, Kinds, Latents, Place, Trained

T5 = r"encoder_block_|shared$|text_projection"
LANGUAGE_MODEL = r"(?:model_)?(?:layers_|embed_tokens)"
TITLES = {
    "TE": "Text encoder", "CLIP": "CLIP", "T": "T5", "QWEN": "Qwen3", "IN": "IN: embedders", "D": "D: double blocks",
    "S": "S: single blocks", "B": "B: blocks", "J": "J: joint blocks", "OUT": "OUT: last layer",
}  # fmt: skip
SWAPPED = "final_layer.adaLN_modulation.1"  # diffusers' norm_out.linear has its halves the other way round
FLUX_VAE = Latents(channels=16, scale=0.3611, shift=0.1159)
WAN_VAE = Latents(
    channels=16,
    mean=(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
          0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
    std=(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
         3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
)  # fmt: skip


@dataclass(frozen=True)
class Stack:
    """Blocks that are alike.

    Attributes:
        name: of the list, in the original code.
        count: of blocks.
        layers: layer -> its other names; one of several names with blanks between them is a layer that is split there.
        block: how the list of block weights calls them, with ``{n:02}`` for the number; a block's name stands for all.
        also: other names of the list.
        shares: layer -> rows of its parts in proportion, where they differ.
    """

    name: str
    count: int
    layers: Mapping[str, Sequence[str]]
    block: str
    also: Sequence[str] = ()
    shares: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Of the blocks, in order; none where they have no names."""
        return [self.block.format(n=n) for n in range(self.count)] if "{" in self.block else []


class DiTNames:
    """The names of one transformer's layers.

    Args:
        stacks: its blocks.
        single: layers outside of the stacks -> their other names. The first other name is diffusers', where there is
            one, for these as for the stacks and their layers.
    """

    def __init__(self, stacks: Sequence[Stack], single: Mapping[str, Sequence[str]]):
        self._diffusers: dict[str, tuple[str, ...]] = {
            UNET + flat(name): ((*also, name)[0],) for name, also in single.items() if also or name != SWAPPED
        }
        self._single = {flat(alias): UNET + flat(name) for name, also in single.items() for alias in (name, *also)}
        self._stacks: dict[tuple[str, str], tuple[Stack, Place]] = {}
        self._shares: dict[str, tuple[int, ...]] = {}
        for stack in stacks:
            for name, also in stack.layers.items():
                ours = f"{UNET}{flat(stack.name)}_{{n}}_{flat(name)}"
                blocks = (*stack.also, stack.name)[0]
                self._diffusers[ours] = tuple(f"{blocks}.{{n}}.{part}" for part in (*also, name)[0].split())
                for alias in (name, *also):
                    parts = alias.split()
                    shares = stack.shares.get(name, (1,) * len(parts))
                    if len(parts) > 1:
                        self._shares[ours] = shares
                    for part, path in enumerate(parts):
                        for list_name in (stack.name, *stack.also):
                            place = Place(ours, part, len(parts))
                            self._stacks.setdefault((flat(list_name), flat(path)), (stack, place))
        lists = "|".join(sorted({name for name, _ in self._stacks}, key=len, reverse=True))
        self._numbered = re.compile(rf"({lists})_(\d+)_(\w+)")

    def place(self, path: str) -> Place | None:
        """Where ``path``, in any spelling, lies; None if this transformer has no such layer."""
        if path in self._single:
            return Place(self._single[path])
        match = self._numbered.fullmatch(path)
        found = self._stacks.get((match[1], match[3])) if match else None
        if not match or not found or int(match[2]) >= found[0].count:
            return None
        return Place(found[1].key.format(n=int(match[2])), found[1].part, found[1].parts)

    def in_diffusers(self, key: str) -> tuple[str, ...]:
        """Where diffusers' transformer has the layer ``key``, in parts if it splits it; empty if it has none such."""
        found = self._diffusers.get(key) or self._diffusers.get(re.sub(r"_\d+_", "_{n}_", key, count=1), ())
        number = re.search(r"_(\d+)_", key)
        return tuple(path.format(n=number[1] if number else "") for path in found)

    def shares(self, key: str) -> tuple[int, ...]:
        """Rows of the parts that some spelling splits ``key`` into, in proportion; (1,) for none."""
        return self._shares.get(re.sub(r"_\d+_", "_{n}_", key, count=1), (1,))


def flat(path: str) -> str:
    """A module path as it stands in keys."""
    return path.replace(".", "_")


def dit_blocks(
    stacks: Sequence[Stack], text: Mapping[str, str], last: str = r"final_layer|proj_out|norm_out"
) -> Blocks:
    """The blocks of a transformer, in the manner of the Block Weight extension's list for Flux.

    Args:
        text: name of a text encoder's block -> pattern of its layers' keys. What lies in no block goes with the first.
        last: pattern of the layers behind the stacks, which are OUT; all others outside of them are IN.
    """
    patterns = [(re.compile(pattern), name) for name, pattern in text.items()]
    for stack in stacks:
        patterns.append((re.compile(rf"{UNET}{flat(stack.name)}_(?P<n>\d+)_"), stack.block))
    patterns += [(re.compile(rf"{UNET}(?:{last})"), "OUT"), (re.compile(UNET), "IN")]
    names = (*text, "IN", *(name for stack in stacks for name in stack.names()), "OUT")
    return Blocks(names, (names,), tuple(patterns), text=len(text), titles=TITLES)


def dit_kinds(attention: str, mlp: str, other: Mapping[str, str] | None = None) -> Kinds:
    """Kinds of a transformer's layers; ``other`` -> pattern goes before these. The rest is ``embed``: what comes in
    and goes out."""
    patterns = {"norm": r"norm\w*$|_ln\d?$", "mod": r"_mod_|modulation|_norm\d?(?:_context)?_linear$"}
    patterns |= {**(other or {}), "attn1": attention, "mlp": mlp}
    return Kinds(
        {kind: re.compile(pattern) for kind, pattern in patterns.items()},
        "embed",
        {"attn": ("attn1", "attn2") if "attn2" in patterns else ("attn1",), "ff": ("mlp",)},
    )


def dit_trained(stacks: Sequence[str], never: str, attention: str, last: str = "") -> Trained:
    """What trainers adapt: the layers of these stacks, but neither ``never`` nor, in the last block, ``last``."""
    lists = "|".join(map(flat, stacks))
    return Trained(
        re.compile(rf"{UNET}(?:{lists})_\d+_(?!.*(?:{never}))"),
        re.compile(attention),
        last=re.compile(rf"{UNET}(?:{lists})_(?P<n>\d+)_(?:{last})") if last else None,
    )
