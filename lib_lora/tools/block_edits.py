"""What one does to block weights besides moving a slider: go back, write them for a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..adapters.blocks import BlockWeights

STEPS_KEPT = 200
# Our kinds of layers as the Block Weight extension matches them, by parts of ldm's names, in the U-Net and in BASE.
_LBW_PARTS = {
    "attn1": ("attn1", "self_attn"),
    "attn2": ("attn2", "attn2"),
    "mlp": ("ff_net", "mlp"),
    "proj": ("proj_in proj_out", "proj_in proj_out"),
    "conv": ("in_layers out_layers emb_layers skip_connection op conv", "time_embed label_emb"),
    "norm": ("norm", "layer_norm"),
}


@dataclass(frozen=True)
class History:
    """Texts of block weights in the order they came, and the place of the one that counts now."""

    entries: tuple[str, ...]
    at: int = 0

    @property
    def text(self) -> str:
        """The block weights as they stand."""
        return self.entries[self.at]

    @property
    def can_undo(self) -> bool:
        """Whether there is anything before."""
        return self.at > 0

    @property
    def can_redo(self) -> bool:
        """Whether anything was undone."""
        return self.at < len(self.entries) - 1

    def record(self, text: str) -> History:
        """With ``text`` as the newest; what had been undone is forgotten. The same text again is no step."""
        if text == self.text:
            return self
        kept = (*self.entries[: self.at + 1], text)[-STEPS_KEPT:]
        return History(kept, len(kept) - 1)

    def undo(self) -> History:
        """One step back; itself at the beginning."""
        return History(self.entries, max(0, self.at - 1))

    def redo(self) -> History:
        """One step forward; itself at the end."""
        return History(self.entries, min(len(self.entries) - 1, self.at + 1))


@dataclass(frozen=True)
class LbwText:
    """Block weights for the LoRA Block Weight extension: the tag of the prompt, and the line of its element presets."""

    tag: str
    elements: str


def lbw_text(name: str, weights: BlockWeights, layout: Sequence[str], scale: float = 1.0) -> LbwText:
    """``<lora:NAME:1:lbw=…>``; with weights of kinds of layers also ``lbwe=``, and the preset it refers to."""
    kinds = {key: value for key, value in weights.items() if "." in key}
    whole = BlockWeights(weights.family, {key: value for key, value in weights.items() if "." not in key})
    identifier = f"{name}_elements".replace(" ", "_")
    entries = []
    for key, value in kinds.items():
        block, _, kind = key.partition(".")
        entries.append(f"{block}:{_LBW_PARTS[kind][block == 'BASE']}:{value:g}")
    option = f":lbwe={identifier}" if entries else ""
    return LbwText(
        f"<lora:{name}:{scale:g}:lbw={whole.format(layout)}{option}>",
        f"{identifier}:{','.join(entries)}" if entries else "",
    )
