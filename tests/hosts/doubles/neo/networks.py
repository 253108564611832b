"""The built-in LoRA extension: several folders, files of two names, nothing cached but what was wanted last."""

import functools
import os
from types import SimpleNamespace

from lora_double import apply, read
from modules import shared

from lib_lora.adapters.file import read_metadata

available_networks = {}
available_network_aliases = {}
forbidden_network_aliases = set()
load_lora_state_dict = functools.partial(read)


def list_available_networks():
    for known in (available_networks, available_network_aliases, forbidden_network_aliases):
        known.clear()
    for folder in (shared.cmd_opts.lora_dir, *shared.cmd_opts.lora_dirs):
        for place, _, names in os.walk(folder, followlinks=True):
            for name in sorted(names):
                if name.lower().endswith(".safetensors"):
                    _list(os.path.splitext(name)[0], os.path.join(place, name))


def _list(name, path):
    alias = read_metadata(path).get("ss_output_name", name)
    entry = SimpleNamespace(name=name, alias=alias, filename=path)
    available_networks[name] = entry
    if alias in available_network_aliases:
        forbidden_network_aliases.add(alias.lower())
    available_network_aliases[name] = available_network_aliases[alias] = entry


def load_networks(names, te_multipliers=None, unet_multipliers=None):
    if any(name not in available_network_aliases for name in names):
        list_available_networks()
    files = [available_network_aliases[name].filename for name in names]
    apply(files, unet_multipliers, te_multipliers, load_lora_state_dict)
