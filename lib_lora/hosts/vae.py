"""What every host asks of a VAE's tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def in_float32(vae: nn.Module) -> Iterator[None]:
    """The VAE widened to float32; afterwards it has its own tensors again, the very same."""
    before = [(m, dict(m._parameters), dict(m._buffers)) for m in vae.modules()]
    try:
        for module, parameters, buffers in before:
            for name, old in parameters.items():
                if old is not None:
                    module._parameters[name] = nn.Parameter(old.detach().float(), requires_grad=False)
            for name, buffer in buffers.items():
                if buffer is not None and buffer.is_floating_point():
                    module._buffers[name] = buffer.float()
        yield
    finally:
        for module, parameters, buffers in before:
            module._parameters.update(parameters)
            module._buffers.update(buffers)


def finite(tensor: Tensor, doing: str, where: str | Path | None, fix: str) -> Tensor:
    """The tensor itself.

    Raises:
        UserError: it has NaN or infinite values.
    """
    if not torch.isfinite(tensor).all():
        raise UserError(f"The VAE produced NaN while {doing}", where=where, fix=fix)
    return tensor
