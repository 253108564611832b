"""The names of tensors in LoRA files: which layer, which parameter of it.

What comes out is a key with kohya's beginning (``lora_unet_``, ``lora_te_``, …) and the layer's path with underscores,
in whatever spelling the file has; :class:`lib_lora.models.family.Family` knows which layer that is. Read: kohya's own
names, LyCORIS' ``lycoris_``, OneTrainer's ``lora_transformer_``, kohya's ``oft_unet_``, the dotted names of diffusers,
PEFT, ComfyUI, ai-toolkit and DiffSynth, and those of XLabs' processors.
"""

from __future__ import annotations

import re
from functools import lru_cache

# Beginnings of names without dots -> ours
PREFIXES = {
    "oft_unet_": "lora_unet_",
    "oft_te_": "lora_te_",
    "oft_te1_": "lora_te1_",
    "oft_te2_": "lora_te2_",
    "lora_transformer_": "lora_unet_",
    "lora_unet__": "lora_unet_",
}
# What torch puts around modules that run on several cards or are compiled
_WRAPPED = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod)\.")
_KOHYA = re.compile(r"lora_(?:unet|te\d?)_")
# Beginnings of dotted names -> ours
ROOTS = {
    "unet.": "lora_unet_",
    "lora_unet.": "lora_unet_",
    "lora_te.": "lora_te_",
    "lora_te1.": "lora_te1_",
    "lora_te2.": "lora_te2_",
    "transformer.": "lora_unet_",
    "diffusion_model.": "lora_unet_",
    "model.diffusion_model.": "lora_unet_",
    "net.": "lora_unet_",
    "text_encoder.": "lora_te_",
    "text_encoder_2.": "lora_te2_",
    "text_encoder_3.": "lora_te3_",
    "cond_stage_model.transformer.": "lora_te_",
    "conditioner.embedders.0.transformer.": "lora_te1_",
    "text_encoders.clip_l.transformer.": "lora_te1_",
    "text_encoders.clip_g.transformer.": "lora_te2_",
    "text_encoders.clip_h.transformer.": "lora_te_",
    "text_encoders.t5xxl.transformer.": "lora_te3_",
    "text_encoders.qwen3_06b.transformer.model.": "lora_te_",
    "text_encoders.qwen3_06b.": "lora_te_",
}
PARAMS = {
    "lora_A": "lora_down.weight",
    "lora_B": "lora_up.weight",
    "lora.down": "lora_down.weight",
    "lora.up": "lora_up.weight",
    "lora_linear_layer.down": "lora_down.weight",
    "lora_linear_layer.up": "lora_up.weight",
    "lora_magnitude_vector": "magnitude",
    "lora_B.bias": "lora_up.bias",
}
_ADAPTER = r"(?:\.(?!bias$|weight$)[\w-]+)?"  # PEFT puts an adapter's name behind the parameter's
_FACTORS = (
    rf"(?P<peft>lora_[AB]|lora_magnitude_vector){_ADAPTER}(?:\.weight)?"
    r"|(?P<old>lora\.(?:down|up)|lora_linear_layer\.(?:down|up))\.weight"
)
_NAMED = rf"(?P<named>hada_[wt][12](?:_[ab])?|lokr_[wt][12](?:_[ab])?|oft_[sr]|ia3_l){_ADAPTER}"
_OWN = (
    r"(?:lora_(?:up|down|mid)|[ab][12])\.weight|alpha|scalar|dora_scale|diff|diff_b|oft_blocks|rescale|w_norm|b_norm"
    r"|(?:lora_up|lora_B)\.bias|oft_R\.(?:weight|scaled_oft)"
)
_DOTTED = re.compile(rf"(?P<path>.+?)\.(?:{_FACTORS}|{_NAMED}|(?P<own>{_OWN}|on_input|weight))")
_BARE = re.compile(rf"(?P<path>.+?)\.(?:{_FACTORS}|{_NAMED}|(?P<own>{_OWN}))")
_PARAM = re.compile(rf"(?P<peft>lora_[AB]|lora_magnitude_vector){_ADAPTER}(?:\.weight)?|{_NAMED}")
_CLIP = re.compile(r"(?:text_model\.)?(?:encoder\.layers|embeddings|final_layer_norm)\b")
_PROCESSOR = re.compile(r"\.processor\.(to_[qkv]|to_out)_lora\.")
_XLABS = re.compile(r"\.processor\.(qkv|proj)_lora([12]?)\.(up|down)\.weight$")


@lru_cache(maxsize=1 << 14)  # a file's names are asked for several times while it is opened
def split(name: str) -> tuple[str, str]:
    """Layer key, in the file's spelling, and parameter name."""
    name = _WRAPPED.sub("", name)
    key, _, param = name.partition(".")
    for prefix, ours in PREFIXES.items():
        if key.startswith(prefix):
            return ours + key.removeprefix(prefix), _own(param)
    if key.startswith("lycoris_"):
        part = "lora_te_" if "text_model" in key else "lora_unet_"
        return part + key.removeprefix("lycoris_"), _own(param)
    if _KOHYA.match(key):
        return key, _own(param)
    plain = name.removeprefix("base_model.model.")
    plain = _PROCESSOR.sub(lambda m: f".{m[1]}{'.0' if m[1] == 'to_out' else ''}.lora.", plain)
    plain = _XLABS.sub(lambda m: f".processor.{m[1]}_lora{m[2] or '1'}.lora.{m[3]}.weight", plain)
    root = max((root for root in ROOTS if plain.startswith(root)), key=len, default=None)
    if root is not None:
        match, ours = _DOTTED.fullmatch(plain.removeprefix(root)), ROOTS[root]
    else:
        match, ours = None if plain.startswith("lora_") else _BARE.fullmatch(plain), "lora_unet_"
    if match is None:
        return key, param
    path = match["path"]
    if _CLIP.match(path) and (root is None or ours.startswith("lora_te")):
        ours = "lora_te_" if root is None else ours
        path = path if path.startswith("text_model.") else f"text_model.{path}"  # as transformers 5 calls CLIP's
    found = match["peft"] or match["old"]
    return ours + path.replace(".", "_"), PARAMS[found] if found else match["named"] or _own(match["own"])


def _own(param: str) -> str:
    """A parameter by kohya's name, where it has PEFT's."""
    match = _PARAM.fullmatch(param)
    if match is None:
        return PARAMS.get(param, param)
    return PARAMS[match["peft"]] if match["peft"] else match["named"]
