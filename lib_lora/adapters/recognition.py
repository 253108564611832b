"""Which family of base models a file is for, told from names, shapes and metadata; and what else it may be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from lib_lora.adapters.algorithms.oft_inputs import TRIANGLES, block_size
from lib_lora.adapters.tensor_names import split
from lib_lora.errors import UserError
from lib_lora.models.families import families, family
from lib_lora.models.family import UNET, Family

Shape = Sequence[int]


@dataclass(frozen=True)
class Foreign:
    """A file that is nothing for us.

    Attributes:
        what: for a sentence, ``"a LoRA for Wan"``, ``"a textual inversion"``.
    """

    what: str


COSMOS_LIKE = "PixArt, LTX-Video or Sana"  # diffusers calls their layers as those of Anima, which is built as Cosmos is
HUNYUAN = "HunyuanVideo or HunyuanImage"
# Layers of LoRAs for models that are not among the families: pattern searched in keys -> model
_OTHER_MODELS = {
    r"^lora_prior_(?:unet|te)_": "Stable Cascade",
    r"lora_unet_blocks_\d+_(?:(?:self|cross)_attn_(?:[qkvo]|[kv]_img)$|ffn_(?:[02]$|net_)|attn[12]_to_)": "Wan",
    r"lora_unet_blocks_\d+_attn[12]_(?:Wqkv|q_proj|kv_proj|out_proj)$": "HunyuanDiT",
    r"_(?:img|txt)_mlp_fc[12]$|_individual_token_refiner_|_(?:img|txt)_attn_[qkv]$|_(?:img|txt)_mod_linear$"
    r"|_single_blocks_\d+_modulation_linear$|_double_blocks_19_": HUNYUAN,
    r"^lora_unet_(?:joint_transformer_blocks|double_layers|single_layers)_": "AuraFlow",
    r"_double_stream_blocks_|_single_stream_blocks_": "HiDream",
    r"^lora_unet_transformer_blocks_\d+_attn1_": COSMOS_LIKE,
    r"^lora_unet_layers_\d+_self_attn(?:ention)?_": "OmniGen, Ernie or another language model",
    r"^lora_unet_(?:visual|text)_transformer_blocks_": "Kandinsky 5",
}
_LORA = (
    r"\.(?:lora_(?:up|down|A|B)|hada_w|lokr_w|lora\.(?:up|down)|lora_linear_layer|[ab][12]\.weight$|diff(?:_b)?$|oft_)"
    r"|_lora[12]?\.(?:up|down)\.|\.(?:[wb]_norm|on_input|ia3_l)$"
)
# Names of tensors in files that are no LoRA: what it is -> (pattern that one of them has, pattern that none has)
_OTHER_FILES = {
    "a LoRA in the first format of cloneofsimo's lora": (r"^lora_(?:unet|te):\d+:", ""),
    "a LoRA for HunyuanVideo": (r"\.(?:img|txt)_(?:attn_qkv|attn_proj)\b", ""),  # Flux.1 has points there
    "a LoRA for Stable Video Diffusion": (r"temporal_transformer_blocks", ""),
    "a motion module or motion LoRA of AnimateDiff": (r"motion_modules\.", ""),
    "a LoRA for a language model": (r"^(?:base_model\.model\.)?model\.layers\.\d+\.(?:self_attn|mlp)\..*\.lora_", ""),
    "an adapter of PEFT of a kind that is not read here": (
        r"\.(?:vera_lambda_|boft_[Rs]\b|oft_[rs]\b|hra_u|road_|c3a_|fourierft_|randlora_|bone_|miss_block|shira_|waveft_)",
        "",
    ),
    "a LoRA that was converted for Nunchaku": (r"\.lora_(?:up|down)$", ""),
    "a model that was quantised for Nunchaku": (r"\.(?:qweight|wscales)$", ""),
    "a PhotoMaker": (r"^id_encoder\.", ""),
    "a file of cached latents": (r"^latents(?:_|$)", ""),
    "a PuLID model": (r"^pulid_", ""),
    "an image encoder": (r"^vision_model\.|^visual\.", _LORA),
    "a small VAE for previews": (r"^(?:decoder_layers\.)?\d+\.(?:weight|conv\.\d+\.weight)$", _LORA),
    "an IP-Adapter": (r"^image_proj\.|^ip_adapter\.", ""),
    "a ControlNet": (
        r"^control_model\.|^controlnet_|^lora_controlnet|input_hint_block\.|^zero_convs?\.|^lllite_|^controlnet_blocks\.",
        "",
    ),
    "a T2I adapter": (r"^(?:adapter\.)?body\.\d+\.(?:block1|in_conv|resnets)", ""),
    "a whole checkpoint": (r"^(?:model\.)?diffusion_model\.|^conditioner\.embedders\.|^cond_stage_model\.", _LORA),
    "a VAE": (
        r"^(?:first_stage_model\.|vae\.)?(?:encoder|decoder)\.(?:conv_in|conv_out|mid|mid_block|down|up|conv1|middle)\b",
        _LORA,
    ),
    "a model's transformer or U-Net alone, not a LoRA": (
        r"^(?:(?:unet|transformer)\.)?(?:double_blocks|single_blocks|joint_blocks|transformer_blocks|single_transformer_blocks"
        r"|down_blocks|mid_block|up_blocks|layers|blocks)\..+\.weight$",
        _LORA,
    ),
    "a text encoder alone": (
        r"^(?:text_model|transformer\.text_model|encoder\.block|model\.layers|transformer\.resblocks)\b.*\.weight$",
        _LORA,
    ),
    "a textual inversion": (
        r"^emb_params$|^string_to_param|^string_to_token|^(?:clip_[lg]|t5xxl|qwen[\w.]*)$|^<[^>]+>$",
        _LORA,
    ),
    "a hypernetwork": (r"^(?:320|640|768|1024|1280)\.\d+\.", _LORA),
    "an upscaler": (r"^model\.\d+\.|^conv_first\.|^params(?:_ema)?\.|^conv_body\.|^RRDB_trunk", _LORA),
    "the state of an optimizer": (r"exp_avg|^optimizer", _LORA),
}
_OTHER_FILES_FOUND = {
    what: (re.compile(having), re.compile(lacking) if lacking else None)
    for what, (having, lacking) in _OTHER_FILES.items()
}
_BAR = re.compile(r"\|(?![^(]*\))")  # between alternatives, not within parentheses, of which none is within others
_ANY = [one for having, _ in _OTHER_FILES.values() for one in _BAR.split(having)]
# Whether a name may be one of theirs; looking for all of them at every place of every name takes three times as long
_BEGINS_AS_OTHER = re.compile("|".join(f"(?:{one})" for one in _ANY if one.startswith("^")))
_HAS_OF_OTHER = re.compile("|".join(f"(?:{one})" for one in _ANY if not one.startswith("^")))
_OTHER_MODELS_FOUND = {re.compile(pattern): name for pattern, name in _OTHER_MODELS.items()}
BIG_G = 1280  # width of OpenCLIP ViT-bigG, the only text that SDXL's refiner reads; other U-Nets read it beside another
COSMOS_TEXT = 1024  # width of the text that Cosmos' blocks read; 2048 in LTX-Video
_FROM_TEXT = re.compile(r"^lora_unet_.*_attn2_to_[kv]$")
_NAMED_MODELS = re.compile(r"kolors", re.IGNORECASE)  # have SDXL's layers and widths; only what they say tells
UNKNOWN = "of a kind that is not known here"


def recognise(shapes: Mapping[str, Shape], metadata: Mapping[str, str]) -> Family | Foreign:
    """What the file with these tensors is for.

    Args:
        shapes: tensor name -> its shape.
        metadata: of the file.
    """
    layers = layer_shapes(shapes)
    said = " ".join(metadata.get(key, "") for key in ("modelspec.architecture", "ss_base_model_version"))
    other = what_else(shapes)
    if other is not None and not (COSMOS_LIKE in other.what and _is_cosmos(layers, said)):
        return other
    if any(into == BIG_G and _FROM_TEXT.search(key) for key, (_, into) in layers.items()):
        return Foreign("a LoRA for SDXL's refiner")
    if named := _NAMED_MODELS.search(said):
        return Foreign(f"a LoRA for {named[0].capitalize()}")
    found = candidates(layers, metadata)
    return found[0] if found else Foreign(f"{UNKNOWN} (its first tensor is {next(iter(shapes))})")


def _is_cosmos(layers: Mapping[str, tuple[int, int]], said: str) -> bool:
    """Whether layers that several transformers have are of one with Cosmos' modulation and narrow text, as Anima's."""
    if "anima" in said.lower():
        return True
    return any(re.search(r"_norm[123]_linear_[12]$", key) for key in layers) or any(
        into == COSMOS_TEXT and re.search(r"_attn2_to_[kv]$", key) for key, (_, into) in layers.items()
    )


def what_else(names: Iterable[str]) -> Foreign | None:
    """What the file is where it is no LoRA for a known family; None where it may be one."""
    names = list(names)
    suspects = [name for name in names if _BEGINS_AS_OTHER.match(name) or _HAS_OF_OTHER.search(name)]
    for what, (having, lacking) in _OTHER_FILES_FOUND.items():
        if any(map(having.search, suspects)) and not (lacking and any(map(lacking.search, names))):
            return Foreign(what)
    keys = {split(name)[0] for name in names}
    for pattern, model in _OTHER_MODELS_FOUND.items():
        if any(map(pattern.search, keys)):
            return Foreign(f"a LoRA for {model}")
    single = {int(number[1]) for key in keys if (number := re.search(r"_single_(?:transformer_)?blocks_(\d+)_", key))}
    if single & {38, 39} and max(single) < 40:  # Flux.1 has fewer of them, Flux.2 more
        return Foreign(f"a LoRA for {HUNYUAN}")
    return None


def names_of(shapes: Mapping[str, Shape]) -> dict[str, tuple[str, str]]:
    """Tensor name -> (layer key in the file's spelling, parameter)."""
    named = {name: split(name) for name in shapes}
    wide = any(
        key.startswith("lora_te_") and "_self_attn_" in key and BIG_G in shapes[name][1:2]
        for name, (key, param) in named.items()
        if param == "lora_down.weight"
    )
    if not wide:
        return named
    # SDXL's second text encoder, saved on its own
    return {name: (re.sub("^lora_te_", "lora_te2_", key), param) for name, (key, param) in named.items()}


def layer_shapes(shapes: Mapping[str, Shape]) -> dict[str, tuple[int, int]]:
    """Layer key, in the file's spelling -> (outputs, inputs) of the layer, each 0 where its tensors do not say."""
    found: dict[str, tuple[int, int]] = {}
    for name, (key, param) in names_of(shapes).items():
        shape = shapes[name]
        out, into = found.get(key, (0, 0))
        if param in ("lora_up.weight", "hada_w1_a", "b2.weight") and shape:
            out = shape[0]
        elif param in ("lora_down.weight", "hada_w1_b") and len(shape) > 1:
            into = shape[1]
        elif param == TRIANGLES and len(shape) == 2 and shape[0] > 1:  # of one row, all groups share it
            into = shape[0] * block_size(shape[1])
        elif param in ("diff", "weight") and len(shape) > 1:
            out, into = shape[0], shape[1]
        found[key] = (out, into)
    return found


def candidates(layers: Mapping[str, tuple[int, int]], metadata: Mapping[str, str] | None = None) -> tuple[Family, ...]:
    """The families that layers may be of, the likeliest first; empty if they are of none.

    Most layers placed decides, then the layers that only one family has, then widths, then the metadata. What is left
    cannot be told apart: a LoRA of SD1 and one of SD2 that touch nothing that the text encoder reaches, say.

    Args:
        layers: key in any spelling -> (outputs, inputs), 0 where unknown.
    """
    found = _by_layers(tuple(layers.items()))
    said = tuple(family for family in found if family.marking.fits(metadata or {}))
    return said or found


@lru_cache(maxsize=16)  # a file is asked several times while it is opened
def _by_layers(sizes: tuple[tuple[str, tuple[int, int]], ...]) -> tuple[Family, ...]:
    """What :func:`candidates` knows without metadata."""
    layers = dict(sizes)
    placed = {family: sum(family.place(key) is not None for key in layers) for family in families().values()}
    denoiser = [key for key in layers if key.startswith(UNET)]
    if denoiser:
        placed = {family: n for family, n in placed.items() if any(family.place(key) for key in denoiser)}
    if not any(placed.values()):
        return ()
    found = _most(placed)
    found = _most({family: _marked(family, layers) for family in found})
    found = _most({family: _fitting(family, layers) for family in found})
    return tuple(sorted(found, key=lambda f: (not _usual(f, layers), f.order)))


def family_of(keys: Iterable[str], metadata: Mapping[str, str] | None = None) -> Family:
    """The family that layers of these names, in any spelling, are of; SD1 where they are of none."""
    found = candidates(dict.fromkeys(keys, (0, 0)), metadata)
    return found[0] if found else family("sd1")


def together(files: Sequence[tuple[str, Sequence[Family]]], fix: str) -> tuple[Family, ...]:
    """The families that all of several files or models may be of.

    Args:
        files: (subject and verb, as in ``"STYLE is for"``, families that it may be of, the likeliest first); one
            without any fits all.

    Raises:
        UserError: there is none; names two that do not go together, with their families.
    """
    common: list[Family] | None = None
    first: tuple[str, Sequence[Family]] = ("", ())
    for name, of in files:
        if not of:
            continue
        kept = [one for one in common if one in of] if common is not None else list(of)
        if not kept:
            what = f"{first[0]} {first[1][0].label}, and {name} {of[0].label}"
            raise UserError(f"{what}: their layers have nothing in common", where="families", fix=fix)
        first, common = first if common is not None and len(kept) == len(common) else (name, of), kept
    return tuple(common or ())


def _most(counts: Mapping[Family, int]) -> list[Family]:
    most = max(counts.values(), default=0)
    return [family for family, count in counts.items() if count == most]


def _marked(family: Family, layers: Iterable[str]) -> int:
    return sum(bool(mark.search(key)) for mark in family.marks for key in layers)


def _fitting(family: Family, layers: Mapping[str, tuple[int, int]]) -> bool:
    """Whether a layer has the width that it has in this family."""
    if not family.widths:
        return False
    patterns = [(re.compile(pattern), size) for pattern, size in family.widths.items()]
    for key, (out, into) in layers.items():
        place = family.place(key)
        for pattern, (wide, deep) in patterns if place else ():
            whole = place is not None and place.parts == 1
            if place and pattern.search(place.key) and deep == into and (wide in (0, out) or not whole):
                return True
    return False


def _usual(family: Family, layers: Iterable[str]) -> bool:
    return family.written is not None and any(family.written.search(key) for key in layers)
