"""The tensors of a checkpoint file, read without diffusers, which not every web UI has."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lib_lora.errors import UserError
from lib_lora.models.layers import CLIP_PREFIX

TEXT = f"{CLIP_PREFIX}text_model."
OLD_TEXT = re.compile(rf"^{re.escape(CLIP_PREFIX)}(?=embeddings\.|encoder\.|final_layer_norm\.)")
WANTED = "Choose a checkpoint of Stable Diffusion 1.x or SDXL (.safetensors)"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, on the CPU, in their stored types."""
    if not path.is_file():
        raise UserError("There is no such checkpoint", where=path)
    try:
        tensors = load_file(path) if path.suffix == ".safetensors" else _read_pickle(path)
    except (SafetensorError, EOFError, RuntimeError, zipfile.BadZipFile) as e:
        raise UserError("The checkpoint is damaged or cut off", where=path, fix="Download it again") from e
    except pickle.UnpicklingError as e:
        raise UserError("The checkpoint may contain program code", where=path, fix=WANTED) from e
    return {OLD_TEXT.sub(TEXT, key): t for key, t in tensors.items()}


def _read_pickle(path: Path) -> dict[str, Tensor]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}
