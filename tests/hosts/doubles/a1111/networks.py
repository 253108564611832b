"""The built-in Lora extension: merges at the next forward pass, and leaves the merged weights there."""

import os
from pathlib import Path

import torch
from modules import shared

from lib_lora.adapters.file import read_lora, to_delta
from lib_lora.hosts.live_layers import live_layers
from lib_lora.models.unet import SD

available_networks = {}
networks_in_memory = {}
loaded_networks = []


class Network:
    def __init__(self, name, path):
        self.name = name
        self.mtime = os.path.getmtime(path)
        self.deltas = {key: to_delta(params).dense() for key, params in read_lora(path).modules.items()}
        self.te_multiplier = self.unet_multiplier = self.dyn_dim = 1.0


def list_available_networks():
    available_networks.clear()
    available_networks.update({p.stem: p for p in Path(shared.cmd_opts.lora_dir).rglob("*.safetensors")})


def load_networks(names, te_multipliers=None, unet_multipliers=None, dyn_dims=None):
    loaded_networks.clear()
    if any(name not in available_networks for name in names):
        list_available_networks()
    for i, name in enumerate(names):
        path = available_networks[name]
        network = networks_in_memory.get(name)
        if network is None or os.path.getmtime(path) > network.mtime:
            network = networks_in_memory[name] = Network(name, path)
        network.te_multiplier = te_multipliers[i] if te_multipliers else 1.0
        network.unet_multiplier = unet_multipliers[i] if unet_multipliers else 1.0
        loaded_networks.append(network)


def assign_network_names(sd_model):
    unet, text_encoder = sd_model.model.diffusion_model, sd_model.cond_stage_model.wrapped.transformer
    layers = live_layers("unet", unet, SD.to_diffusers) | live_layers("te", text_encoder)
    for name, module in layers.items():
        module.network_layer_name = name
        module.register_forward_pre_hook(lambda module, args: network_apply_weights(module))


def forget_merged(sd_model):
    for module in sd_model.modules():
        for name in ("network_weights_backup", "network_current_names"):
            vars(module).pop(name, None)


def network_apply_weights(self):
    name = getattr(self, "network_layer_name", None)
    if name is None:
        return
    current = getattr(self, "network_current_names", ())
    wanted = tuple((x.name, x.te_multiplier, x.unet_multiplier, x.dyn_dim) for x in loaded_networks)
    if current == wanted:
        return
    if getattr(self, "network_weights_backup", None) is None:
        self.network_weights_backup = self.weight.detach().clone()
    self.weight.copy_(self.network_weights_backup)  # outside no_grad, as in the web UI
    for network in loaded_networks:
        if name in network.deltas:
            with torch.no_grad():
                multiplier = network.te_multiplier if name.startswith("lora_te") else network.unet_multiplier
                delta = network.deltas[name].reshape(self.weight.shape) * multiplier
                self.weight.copy_(self.weight.to(delta.dtype) + delta)
    self.network_current_names = wanted
