"""Krea 2.

Names: krea-ai/krea-2 as in Forge Neo's ``backend/nn/krea.py``; diffusers' as in ComfyUI's ``krea2_to_diffusers``. The
authors train all linear layers; as for the other families, ours are those of the blocks. q has four times as many rows
as k or v, and all three are layers of their own in both spellings.
"""

from __future__ import annotations

from lib_lora.models.dit import LANGUAGE_MODEL, WAN_VAE, DiTNames, Stack, dit_blocks, dit_kinds, dit_trained
from lib_lora.models.family import Family, Marking

_LAYERS = {
    "attn.wq": ("attn.to_q",),
    "attn.wk": ("attn.to_k",),
    "attn.wv": ("attn.to_v",),
    "attn.gate": ("attn.to_gate",),
    "attn.wo": ("attn.to_out.0", "attn.to_out"),
    "mlp.gate": ("ff.gate",),
    "mlp.up": ("ff.up",),
    "mlp.down": ("ff.down",),
}
_STACKS = (
    Stack("blocks", 28, _LAYERS, "S{n:02}", ("transformer_blocks",)),
    Stack("txtfusion.layerwise_blocks", 2, _LAYERS, "IN", ("text_fusion.layerwise_blocks",)),
    Stack("txtfusion.refiner_blocks", 2, _LAYERS, "IN", ("text_fusion.refiner_blocks",)),
)
_SINGLE = {
    "first": ("img_in",),
    "tmlp.0": ("time_embed.linear_1",),
    "tmlp.2": ("time_embed.linear_2",),
    "tproj.1": ("time_mod_proj",),
    "txtmlp.1": ("txt_in.linear_1",),
    "txtmlp.3": ("txt_in.linear_2",),
    "txtfusion.projector": ("text_fusion.projector",),
    "last.linear": ("final_layer.linear",),
}

KREA2 = Family(
    name="krea2",
    label="Krea 2",
    short="Krea 2",
    order=47,
    names=DiTNames(_STACKS, _SINGLE),
    text_encoders={"lora_te_": (LANGUAGE_MODEL, "lora_te_")},
    blocks=dit_blocks(_STACKS, {"TE": "lora_te"}, last="last_"),
    kinds=dit_kinds(r"_attn_(?:w[qkvo]|gate)$", r"_mlp_(?:gate|up|down)$"),
    trained=dit_trained(("blocks",), "norm", r"_attn_(?:w[qkvo]|gate)$"),
    widths={r"_blocks_\d+_attn_w[qo]$": (6144, 6144)},
    shift=2.5,
    latents=WAN_VAE,
    bucket_step=16,
    preset="Krea 2",
    marking=Marking("krea2", "Krea-2", "https://github.com/krea-ai/krea-2"),
)
