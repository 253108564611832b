"""What every host asks of a VAE's tensors."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from lib_lora.errors import UserError


def tensor_hash(vae: nn.Module) -> str:
    """SHA-256 of the names of a VAE's tensors and of their values as float32."""
    digest = hashlib.sha256()
    for key, tensor in sorted(vae.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def finite(tensor: Tensor, doing: str, where: str | Path | None, fix: str) -> Tensor:
    """The tensor itself.

    Raises:
        UserError: it has NaN or infinite values.
    """
    if not torch.isfinite(tensor).all():
        raise UserError(f"The VAE produced NaN while {doing}", where=where, fix=fix)
    return tensor
