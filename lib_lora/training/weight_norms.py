"""An upper bound for the norm of each layer's ΔW, against burnt images (kohya's ``scale_weight_norms``)."""

from __future__ import annotations

import torch

from lib_lora.adapters.network import Network


@torch.no_grad()
def limit_weight_norms(network: Network, most: float) -> None:
    """Shrink every LoRA layer whose ‖ΔW‖ (Frobenius, with alpha) is above ``most`` to it; both factors alike.

    Other algorithms, and Tucker cores, are left alone. Without waiting for a GPU: the norm is never read.
    """
    for adapter in network.adapters.values():
        if adapter.algorithm != "lora" or adapter.mid is not None:
            continue
        up, down = adapter.up.flatten(1), adapter.down.flatten(1)
        # ‖U·D‖² = ⟨UᵀU, DDᵀ⟩, without forming ΔW
        squared = ((up.t() @ up) * (down @ down.t())).sum().clamp(min=0)
        ratio = (most / (squared.sqrt() * adapter.scale)).clamp(max=1).sqrt()
        adapter.up.mul_(ratio)
        adapter.down.mul_(ratio)
