"""What loaders call layers: facts about other programs' key maps, in words of our own.

- ldm and sgm ``openaimodel.py``: the constructor of ``UNetModel`` counts its blocks through, down, middle, up.
- AUTOMATIC1111 1.10 ``extensions-builtin/Lora/networks.py``: names of SD1 and SD2 are turned into ldm's; where that
  finds nothing, ``lora_unet`` becomes ``diffusion_model``, and ``lora_te1_text_model`` that of SDXL's first encoder.
- ComfyUI 0.26 ``comfy/lora.py``, which Forge Neo has as it is: ``lora_unet_`` with a module's own path or with that of
  diffusers, and CLIP's six linear layers by a list; T5 is counted behind the CLIPs, Qwen3 is ``lora_te_layers_``.
  Anima's ``llm_adapter`` is a part of the transformer there; Neo renames it, and what begins so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

RESNET = {"conv1": "in_layers_2", "conv2": "out_layers_3", "norm1": "in_layers_0", "norm2": "out_layers_0",
          "time_emb_proj": "emb_layers_1", "conv_shortcut": "skip_connection"}  # fmt: skip
CLIP_LAYERS = ("mlp_fc1", "mlp_fc2", *(f"self_attn_{name}_proj" for name in ("k", "q", "v", "out")))
CLIPS = {"lora_te_": "clip_l", "lora_te1_": "clip_l", "lora_te2_": "clip_g"}


def ldm_unet(mult: Sequence[int], depths: Sequence[int], *, sized: bool = False) -> Iterator[str]:
    """Paths of all linear layers and convolutions of ldm's U-Net.

    Args:
        mult: width of each level.
        depths: transformer blocks in each attention of a level; 0 is no attention.
        sized: whether it is told sizes and pooled texts, as SDXL's.
    """
    yield from ("time_embed.0", "time_embed.2", "input_blocks.0.0", "out.2")
    if sized:
        yield from ("label_emb.0.0", "label_emb.0.2")
    place, width, skips = 1, 1, [1]
    for level, wanted in enumerate(mult):
        for _ in range(2):
            yield from _resnet(f"input_blocks.{place}.0", widens=wanted != width)
            yield from _attention(f"input_blocks.{place}.1", depths[level])
            width = wanted
            skips.append(width)
            place += 1
        if level < len(mult) - 1:
            yield f"input_blocks.{place}.0.op"
            skips.append(width)
            place += 1
    yield from _resnet("middle_block.0", widens=False)
    yield from _attention("middle_block.1", max(1, depths[-1]))
    yield from _resnet("middle_block.2", widens=False)
    place = 0
    for level in reversed(range(len(mult))):
        for layer in range(3):
            skips.pop()
            yield from _resnet(f"output_blocks.{place}.0", widens=True)  # of two outputs side by side
            yield from _attention(f"output_blocks.{place}.1", depths[level])
            if level and layer == 2:
                yield f"output_blocks.{place}.{2 if depths[level] else 1}.conv"
            place += 1


def _resnet(at: str, *, widens: bool) -> Iterator[str]:
    yield from (f"{at}.in_layers.2", f"{at}.emb_layers.1", f"{at}.out_layers.3")
    if widens:
        yield f"{at}.skip_connection"


def _attention(at: str, depth: int) -> Iterator[str]:
    for block in range(depth):
        for attention in ("attn1", "attn2"):
            yield from (f"{at}.transformer_blocks.{block}.{attention}.to_{x}" for x in ("q", "k", "v", "out.0"))
        yield from (f"{at}.transformer_blocks.{block}.ff.net.{x}" for x in ("0.proj", "2"))
    if depth:
        yield from (f"{at}.proj_in", f"{at}.proj_out")


def a1111_modules(unet: Sequence[str], text: str) -> set[str]:
    """The names in its map of a loaded model's modules; ``text``: "sd1", "sd2" or "sdxl"."""
    found = {f"diffusion_model_{_flat(path)}" for path in unet}
    clip = {f"transformer_text_model_encoder_layers_{n}_{name}" for n in range(12) for name in CLIP_LAYERS}
    open_clip = {f"model_transformer_resblocks_{n}_{name}" for n in range(32)
                 for name in ("attn", "attn_out_proj", "mlp_c_fc", "mlp_c_proj")}  # fmt: skip
    if text == "sdxl":
        return found | {f"0_{name}" for name in clip} | {f"1_{name}" for name in open_clip}
    return found | (open_clip if text == "sd2" else clip)


def a1111_finds(key: str, modules: set[str], *, sd2: bool = False) -> str:
    """The module that A1111 puts a layer on; "" for none."""
    name = _a1111_unet(key) or _a1111_text(key, sd2)
    candidates = [name, re.sub(r"_[qkv]_proj$", "", name)]
    if "lora_unet" in key:
        candidates.append(key.replace("lora_unet", "diffusion_model"))
    elif "lora_te1_text_model" in key:
        candidates += [key.replace("lora_te1_text_model", f"{n}transformer_text_model") for n in ("0_", "")]
    return next((name for name in candidates if name in modules), "")


def _a1111_unet(key: str) -> str:
    patterns = {
        r"conv_in": lambda: "input_blocks_0_0",
        r"conv_out": lambda: "out_2",
        r"time_embedding_linear_(\d+)": lambda n: f"time_embed_{2 * int(n) - 2}",
        r"down_blocks_(\d+)_(attentions|resnets)_(\d+)_(.+)": lambda b, kind, n, rest: (
            f"input_blocks_{1 + 3 * int(b) + int(n)}_{_slot(kind, rest)}"
        ),
        r"mid_block_(attentions|resnets)_(\d+)_(.+)": lambda kind, n, rest: (
            f"middle_block_{1 if kind == 'attentions' else 2 * int(n)}_{_slot(kind, rest)[2:]}"
        ),
        r"up_blocks_(\d+)_(attentions|resnets)_(\d+)_(.+)": lambda b, kind, n, rest: (
            f"output_blocks_{3 * int(b) + int(n)}_{_slot(kind, rest)}"
        ),
        r"down_blocks_(\d+)_downsamplers_0_conv": lambda b: f"input_blocks_{3 + 3 * int(b)}_0_op",
        r"up_blocks_(\d+)_upsamplers_0_conv": lambda b: f"output_blocks_{2 + 3 * int(b)}_{2 if int(b) else 1}_conv",
    }
    for pattern, place in patterns.items():
        if match := re.fullmatch(f"lora_unet_{pattern}", key):
            return f"diffusion_model_{place(*match.groups())}"
    return ""


def _slot(kind: str, rest: str) -> str:
    return f"1_{rest}" if kind == "attentions" else f"0_{RESNET.get(rest, rest)}"


def _a1111_text(key: str, sd2: bool) -> str:
    match = re.fullmatch(r"lora_te(2?)_text_model_encoder_layers_(\d+)_(.+)", key)
    if match is None:
        return key
    if not sd2 and not match[1]:
        return f"transformer_text_model_encoder_layers_{match[2]}_{match[3]}"
    names = {"mlp_fc1": "mlp_c_fc", "mlp_fc2": "mlp_c_proj"}
    own = names.get(match[3], match[3].replace("self_attn", "attn"))
    return f"{'1_' if match[1] else ''}model_transformer_resblocks_{match[2]}_{own}"


def comfy_finds(key: str, module_paths: set[str], diffusers_paths: set[str] = frozenset()) -> bool:
    """Whether ComfyUI and Forge Neo know a layer by this name, and so put it somewhere."""
    if key.startswith("lora_unet_"):
        return key[len("lora_unet_") :] in {_flat(path) for path in module_paths | diffusers_paths}
    clip = re.fullmatch(r"(lora_te[12]?_)text_model_encoder_layers_(\d+)_(\w+)", key)
    if clip:
        return int(clip[2]) < 32 and clip[3] in CLIP_LAYERS and clip[1] in CLIPS
    return bool(re.fullmatch(r"lora_te3_encoder_block_\d+_\w+|lora_te_layers_\d+_\w+", key))


def _flat(path: str) -> str:
    return path.replace(".", "_")
