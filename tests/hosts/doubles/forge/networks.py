"""The built-in LoRA extension: patches by file name and strength, with a cache at every turn."""

import functools
from pathlib import Path

from lora_double import apply, read
from modules import shared

available_networks = {}
load_lora_state_dict = functools.lru_cache(maxsize=5)(read)


def list_available_networks():
    available_networks.clear()
    available_networks.update({p.stem: p for p in Path(shared.cmd_opts.lora_dir).rglob("*.safetensors")})


def load_networks(names, te_multipliers=None, unet_multipliers=None, dyn_dims=None):
    if any(name not in available_networks for name in names):
        list_available_networks()
    apply([available_networks[name] for name in names], unet_multipliers, te_multipliers, load_lora_state_dict)
