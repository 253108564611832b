"""Single-file checkpoints of Stable Diffusion 1.x and SDXL, of any width -> modules, without touching a network."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import init_empty_weights
from torch import Tensor, nn

from lib_lora.errors import UserError
from lib_lora.hosts.standalone.model import StandaloneModel
from lib_lora.hosts.standalone.sdxl import StandaloneXLModel
from lib_lora.hosts.standalone.sdxl_parts import build_text_encoders, build_xl_unet, is_sdxl, text_weights
from lib_lora.hosts.standalone.shape import CLIP_HEAD_WIDTH, Shape, build_text_encoder, build_unet, build_vae
from lib_lora.hosts.standalone.tensors import TEXT, WANTED, read_tensors
from lib_lora.hosts.standalone.tokens import FULL_VOCAB, TOKEN_IDS_KEY, expand_token_embedding
from lib_lora.models import layers
from lib_lora.models.layers import UNET_PREFIX, VAE_PREFIX
from lib_lora.models.unet import SD, XL

SUFFIXES = (".safetensors", ".ckpt")
Device = str | torch.device
Parts = tuple[nn.Module, nn.Module, nn.Module]

# What else the file may be, told from its keys; the first match wins.
FOREIGN = (
    (r"^lora_|\.lora_(up|down|A|B)\.|\.hada_|\.lokr_", "a LoRA, not a checkpoint"),
    (r"^conditioner\.embedders\.", "SDXL's refiner, or another model with one of its text encoders"),
    (r"^cond_stage_model\.model\.", "a Stable Diffusion 2 checkpoint"),
    (r"\.joint_blocks\.|\.double_blocks\.|^double_blocks\.", "an SD3 or Flux checkpoint"),
    (r"^control_model\.|^controlnet_", "a ControlNet"),
    (r"^string_to_param|^emb_params$|^clip_[lg]$", "an embedding, not a checkpoint"),
    (r"^down_blocks\.|^text_model\.", "one part of a diffusers model, not a single-file checkpoint"),
    (r"^(first_stage_model\.)?(encoder|decoder)\.", "a VAE, not a checkpoint"),
)


def load_checkpoint(
    path: str | Path,
    name: str | None = None,
    device: Device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> StandaloneModel:
    """Load a checkpoint and, if there is one, its side-car ``NAME.yaml``.

    A compact token embedding (see ``tokens.expand_token_embedding``) is expanded. The VAE stays in float32: in half
    precision it overflows on some models.

    Args:
        path: the file.
        name: what to call the model; the file's name by default.
        device, dtype: of U-Net and text encoder.

    Raises:
        UserError: the file is missing, damaged, a pickle that could run code, incomplete, or of another family.
    """
    path = Path(path)
    tensors = read_tensors(path)
    _refuse_foreign(tensors, path)
    side_car = read_side_car(path)
    prediction = _prediction(tensors, side_car)
    xl = is_sdxl(tensors)
    if not xl:
        _expand_tokens(tensors)
    with init_empty_weights(include_buffers=False):  # else there would be a second model, of random numbers in float32
        unet, vae, text_encoder = _built_xl(tensors) if xl else _built(infer_shape(tensors, side_car))
    _fill(unet, layers.unet_to_diffusers(tensors, XL if xl else SD), path, "U-Net", device, dtype)
    _fill(vae, layers.vae_to_diffusers(tensors), path, "VAE", device, torch.float32)
    text = text_weights(tensors, text_encoder) if xl else _clip_weights(tensors, text_encoder)
    _fill(text_encoder, text, path, "text encoder", device, dtype)
    make = StandaloneXLModel if xl else StandaloneModel
    return make(name or path.stem, path, unet, vae, text_encoder, prediction, zero_terminal="ztsnr" in tensors)


def _prediction(tensors: Mapping[str, Tensor], side_car: Mapping[str, Any]) -> str:
    """As the side-car says, or a tensor that is there for its name alone, as ComfyUI and Forge Neo look for it."""
    said = side_car.get("parameterization", "eps")
    if said in ("flow", "rectified_flow") or any("rectified" in name for name in tensors):
        return "flow"
    return "v" if said == "v" or "v_pred" in tensors else "epsilon"


def _built(shape: Shape) -> Parts:
    return build_unet(shape), build_vae(shape.vae_channels), build_text_encoder(shape)


def _built_xl(tensors: Mapping[str, Tensor]) -> Parts:
    return build_xl_unet(tensors), build_vae(_vae_channels(tensors)), build_text_encoders(tensors)


def _clip_weights(tensors: Mapping[str, Tensor], text_encoder: nn.Module) -> dict[str, Tensor]:
    prefixed = next(iter(text_encoder.state_dict())).startswith("text_model.")
    return layers.clip_to_transformers(tensors, prefixed=prefixed)


def read_side_car(path: Path) -> dict[str, Any]:
    """``model.params`` of the yaml beside a checkpoint, empty if there is none."""
    file = path.with_suffix(".yaml")
    if not file.is_file():
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        return dict(content["model"]["params"])
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as e:
        raise UserError("The checkpoint's yaml cannot be read", where=file, fix="Mend it or remove it") from e


def describe_foreign(keys: Collection[str]) -> str | None:
    """What a file with these keys is, None if they are those of an SD1 or SDXL checkpoint."""
    found = [what for pattern, what in FOREIGN if any(re.search(pattern, key) for key in keys)]
    is_text = is_sdxl(keys) or any(key.startswith(TEXT) for key in keys)
    if f"{UNET_PREFIX}input_blocks.0.0.weight" in keys and is_text:
        return None
    return found[0] if found else "not a Stable Diffusion checkpoint"


def _refuse_foreign(tensors: Mapping[str, Tensor], path: Path) -> None:
    what = describe_foreign(tensors)
    if what is None and tensors[f"{UNET_PREFIX}input_blocks.0.0.weight"].shape[1] != 4:
        what = "an inpainting or instruction model"
    if what is not None:
        raise UserError(f"This is {what}", where=path, fix=WANTED)


def _expand_tokens(tensors: dict[str, Tensor]) -> None:
    key = f"{TEXT}embeddings.token_embedding.weight"
    if TOKEN_IDS_KEY in tensors:
        tensors[key] = expand_token_embedding(tensors[key], tensors[TOKEN_IDS_KEY], FULL_VOCAB)


def infer_shape(tensors: Mapping[str, Tensor], side_car: Mapping[str, Any]) -> Shape:
    """The model's widths from its tensors, and its numbers of heads from the side-car or SD1.5's rule."""

    def rows(key: str) -> int:
        return tensors[key].shape[0]

    clip = side_car.get("cond_stage_config", {}).get("clip", {})
    heads = side_car.get("unet_config", {}).get("params", {}).get("num_heads", 8)
    width = tensors[f"{TEXT}embeddings.token_embedding.weight"].shape[1]
    indices = [int(m[1]) for key in tensors if (m := re.match(rf"{re.escape(TEXT)}encoder\.layers\.(\d+)\.", key))]
    return Shape(
        unet_channels=tuple(rows(f"{UNET_PREFIX}input_blocks.{n}.0.out_layers.3.weight") for n in (1, 4, 7, 10)),
        unet_heads=heads,
        vae_channels=_vae_channels(tensors),
        text_width=width,
        text_mlp=rows(f"{TEXT}encoder.layers.0.mlp.fc1.weight"),
        text_layers=max(indices) + 1,
        text_heads=clip.get("num_attention_heads", max(1, width // CLIP_HEAD_WIDTH)),
        vocab=rows(f"{TEXT}embeddings.token_embedding.weight"),
        positions=rows(f"{TEXT}embeddings.position_embedding.weight"),
    )


def _vae_channels(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    return tuple(tensors[f"{VAE_PREFIX}encoder.down.{n}.block.0.conv1.weight"].shape[0] for n in range(4))


def _fill(
    module: nn.Module, state: Mapping[str, Tensor], path: Path, part: str, device: Device, dtype: torch.dtype
) -> None:
    """Give a module without weights copies of its own; extra keys are harmless, missing ones are not."""
    wanted = module.state_dict()
    missing = [key for key in wanted if key not in state and not key.endswith("position_ids")]
    if missing:
        what = f"The checkpoint's {part} lacks {len(missing)} of {len(wanted)} tensors, first {missing[0]}"
        raise UserError(what, where=path, fix="Download it again, or choose a complete checkpoint")
    # what counts something, such as the positions of old text models, keeps its type, whatever the file has it in
    kinds = {key: dtype if own.is_floating_point() else own.dtype for key, own in wanted.items()}
    found = {key: state[key].to(device, kind, copy=True) for key, kind in kinds.items() if key in state}
    module.load_state_dict(found, strict=False, assign=True)
    nn.Module.to(module, device).eval()  # the buffers
