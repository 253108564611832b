"""How LoRA files call their layers, and the one way we call them.

Our names are kohya's: for SD1 and SD2 with diffusers' names of the U-Net's blocks, for SDXL with those of the original
code (sgm). Read as well: either naming in either family, LyCORIS' ``lycoris_``, kohya's ``oft_unet_``, and the dotted
names of diffusers and PEFT (``unet.….lora_A.weight``). What is translated is the name, never a number, except PEFT's
magnitude vector, which becomes a DoRA scale of the output axis.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

EXTRA = "bundle_emb."  # textual inversions that a LoRA file carries along
SD, SDXL = "sd", "sdxl"

_PREFIXES = {"oft_unet_": "lora_unet_", "oft_te_": "lora_te_", "oft_te1_": "lora_te1_", "oft_te2_": "lora_te2_"}
_ROOTS = {
    "unet.": "lora_unet_",
    "diffusion_model.": "lora_unet_",
    "model.diffusion_model.": "lora_unet_",
    "text_encoder.": "lora_te_",
    "text_encoder_2.": "lora_te2_",
}
_PARAMS = {
    "lora_A": "lora_down.weight",
    "lora_B": "lora_up.weight",
    "lora.down": "lora_down.weight",
    "lora.up": "lora_up.weight",
    "lora_linear_layer.down": "lora_down.weight",
    "lora_linear_layer.up": "lora_up.weight",
    "lora_magnitude_vector": "dora_scale",
}
_DOTTED = re.compile(
    r"(?P<path>.+?)\.(?:(?P<peft>lora_[AB]|lora_magnitude_vector)(?:\.default)?(?:\.weight)?"
    r"|(?P<old>lora\.(?:down|up)|lora_linear_layer\.(?:down|up))\.weight"
    r"|(?P<own>(?:lora_(?:up|down|mid)|[ab][12])\.weight|alpha|dora_scale|hada_\w+|lokr_\w+|diff|diff_b|oft_blocks"
    r"|rescale|w_norm|b_norm|on_input|weight))"
)
_PROCESSOR = re.compile(r"\.processor\.(to_[qkv]|to_out)_lora\.")
_RESNET = {
    "norm1": "in_layers_0",
    "conv1": "in_layers_2",
    "time_emb_proj": "emb_layers_1",
    "norm2": "out_layers_0",
    "conv2": "out_layers_3",
    "conv_shortcut": "skip_connection",
}
_SDXL_ONLY = re.compile(
    r"lora_te[12]_|lora_unet_(?:up_blocks_0_attentions_|output_blocks_[0-2]_1_(?!conv))|transformer_blocks_[1-9]_"
)
_SD_ONLY = re.compile(
    r"lora_te_|lora_unet_(down_blocks_0_attentions_|down_blocks_3_|up_blocks_3_|input_blocks_[12]_1_|input_blocks_9_"
    r"|(?:in|out)put_blocks_1[01]_|output_blocks_9_)"
)


def read_modules(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """A file's tensors under our names.

    Returns:
        Layer key -> parameter name -> tensor; and what belongs to no layer, by the file's own names.
    """
    modules: dict[str, dict[str, Tensor]] = {}
    extras = {name: tensor for name, tensor in tensors.items() if name.startswith(EXTRA)}
    for name, tensor in tensors.items():
        if name not in extras:
            key, param = _split(name)
            if "magnitude" in name:
                tensor = tensor.reshape(-1, 1)
            modules.setdefault(key, {})[param] = tensor
    _add_peft_alphas(modules, metadata)
    family = family_of(modules, metadata)
    return {canonical(key, family): params for key, params in modules.items()}, extras


def family_of(keys: Iterable[str], metadata: Mapping[str, str] | None = None) -> str:
    """``"sdxl"`` or ``"sd"`` (1 and 2), by the layers' names and, where these leave it open, the metadata."""
    keys = list(keys)
    if any(key.startswith("lora_te2_") for key in keys):
        return SDXL
    # diffusers calls the first text encoder of either family text_encoder, hence the comparison
    xl, sd = (sum(pattern.search(key) is not None for key in keys) for pattern in (_SDXL_ONLY, _SD_ONLY))
    if xl != sd:
        return SDXL if xl > sd else SD
    version = (metadata or {}).get("ss_base_model_version", "")
    architecture = (metadata or {}).get("modelspec.architecture", "")
    if version or architecture:
        return SDXL if version.startswith("sdxl") or "-xl-" in architecture else SD
    return SDXL if any(re.match(r"lora_unet_(input|output|middle)_block", key) for key in keys) else SD


def canonical(key: str, family: str) -> str:
    """Our name of a layer: a key with one of the two namings of U-Net blocks, in the one that ``family`` uses."""
    if family == SDXL and key.startswith("lora_te_"):
        return key.replace("lora_te_", "lora_te1_", 1)
    if not key.startswith("lora_unet_"):
        return key
    path = key.removeprefix("lora_unet_")
    return "lora_unet_" + _translate(path, _TO_SGM[SDXL] if family == SDXL else _TO_DIFFUSERS)


def sgm_key(key: str) -> str:
    """A key of SD1 or SD2 with the names of the original code, as in a checkpoint."""
    path = key.removeprefix("lora_unet_")
    return key if path == key else "lora_unet_" + _translate(path, _TO_SGM[SD])


def _split(name: str) -> tuple[str, str]:
    """Layer key, with whatever naming of blocks, and parameter name."""
    key, _, param = name.partition(".")
    for prefix, ours in _PREFIXES.items():
        if key.startswith(prefix):
            return ours + key.removeprefix(prefix), param
    if key.startswith("lycoris_"):
        part = "lora_te_" if "text_model" in key else "lora_unet_"
        return part + key.removeprefix("lycoris_"), param
    plain = name.removeprefix("base_model.model.")
    root = max((root for root in _ROOTS if plain.startswith(root)), key=len, default=None)
    plain = _PROCESSOR.sub(lambda m: f".{m[1]}{'.0' if m[1] == 'to_out' else ''}.lora.", plain)
    match = root and _DOTTED.fullmatch(plain.removeprefix(root))
    if not match:
        return key, param
    path = match["path"]
    if root.startswith("text_encoder") and not path.startswith("text_model."):
        path = f"text_model.{path}"
    found = match["peft"] or match["old"]
    return _ROOTS[root] + path.replace(".", "_"), _PARAMS[found] if found else match["own"]


def _add_peft_alphas(modules: dict[str, dict[str, Tensor]], metadata: Mapping[str, str]) -> None:
    """The alphas that diffusers keeps in the metadata, for layers without one of their own."""
    try:
        config = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except ValueError:
        return
    for key, params in modules.items():
        root = next((root for root, ours in _ROOTS.items() if key.startswith(ours)), None)
        alpha = config.get(f"{root}lora_alpha") if isinstance(config, dict) else None
        if isinstance(alpha, (int, float)) and "alpha" not in params and "lora_down.weight" in params:
            patterns = config.get(f"{root}alpha_pattern")
            patterns = patterns if isinstance(patterns, dict) else {}
            special = [a for path, a in patterns.items() if key.endswith(path.replace(".", "_"))]
            params["alpha"] = torch.tensor(float(special[0] if special else alpha))


def _block_names(family: str) -> dict[str, str]:
    """diffusers' -> sgm's beginnings of U-Net paths."""
    levels = 3 if family == SDXL else 4
    names = {
        "conv_in": "input_blocks_0_0",
        "conv_norm_out": "out_0",
        "conv_out": "out_2",
        "time_embedding_linear_1": "time_embed_0",
        "time_embedding_linear_2": "time_embed_2",
        "add_embedding_linear_1": "label_emb_0_0",
        "add_embedding_linear_2": "label_emb_0_2",
        "mid_block_attentions_0_": "middle_block_1_",
        **_resnet("mid_block_resnets_0", "middle_block_0"),
        **_resnet("mid_block_resnets_1", "middle_block_2"),
    }
    for level in range(levels):
        for j in range(2):
            names |= _resnet(f"down_blocks_{level}_resnets_{j}", f"input_blocks_{1 + 3 * level + j}_0")
            names[f"down_blocks_{level}_attentions_{j}_"] = f"input_blocks_{1 + 3 * level + j}_1_"
        for j in range(3):
            names |= _resnet(f"up_blocks_{level}_resnets_{j}", f"output_blocks_{3 * level + j}_0")
            names[f"up_blocks_{level}_attentions_{j}_"] = f"output_blocks_{3 * level + j}_1_"
        names[f"down_blocks_{level}_downsamplers_0_conv"] = f"input_blocks_{3 * level + 3}_0_op"
        attention = level > 0 if family == SD else level < 2
        slot = 2 if attention else 1
        names[f"up_blocks_{level}_upsamplers_0_conv"] = f"output_blocks_{3 * level + 2}_{slot}_conv"
    return names


def _resnet(diffusers: str, sgm: str) -> dict[str, str]:
    return {f"{diffusers}_{a}": f"{sgm}_{b}" for a, b in _RESNET.items()}


def _translate(path: str, table: Mapping[str, str]) -> str:
    head = max((head for head in table if path.startswith(head)), key=len, default=None)
    return path if head is None else table[head] + path.removeprefix(head)


_TO_SGM = {family: _block_names(family) for family in (SD, SDXL)}
# An attention block's name begins an upsampler's (output_blocks_2_1_conv), so the longest name decides
_TO_DIFFUSERS = {sgm: diffusers for diffusers, sgm in _TO_SGM[SD].items()}
