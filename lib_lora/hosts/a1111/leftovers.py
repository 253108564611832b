"""What the last generation leaves in the live model, taken out of it. Every later generation sets its own again."""

from __future__ import annotations

import sys
from typing import Any

import torch
from modules import devices, sd_hijack, sd_models, sd_unet, shared


def clean(sd_model: Any) -> None:
    """The model on its device and nothing but itself: no LoRA, hypernetwork, other U-Net, token merging or tiling."""
    if next(sd_model.model.parameters()).device.type != torch.device(devices.device).type:
        sd_models.send_model_to_device(sd_model)  # "Unload checkpoint" does not lead to a return by itself
    if sd_unet.current_unet is not None:
        sd_unet.apply_unet("None")
    shared.loaded_hypernetworks.clear()
    sd_models.apply_token_merging(sd_model, 0)
    sd_hijack.model_hijack.apply_circular(False)
    remove_networks(sd_model)


def remove_networks(sd_model: Any) -> None:
    """Restore the weights that the built-in Lora extension has merged its networks into.

    It does so itself, but only at the next forward pass, and outside ``no_grad``.
    """
    networks = sys.modules.get("networks")  # absent when the built-in extension is disabled
    if networks is None:
        return
    if networks.loaded_networks:
        networks.load_networks([])
    with torch.no_grad():
        for module in sd_model.modules():
            if getattr(module, "network_current_names", ()) != ():
                networks.network_apply_weights(module)


def apply_networks(module: Any) -> None:
    """What the built-in Lora extension does before a layer of its computes, for a module whose ``forward`` is ours."""
    networks = sys.modules.get("networks")
    if networks is not None:
        networks.network_apply_weights(module)
