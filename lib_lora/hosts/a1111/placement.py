"""Which parts of a model are on the GPU while it is trained under ``--medvram`` and ``--lowvram``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from modules import devices, lowvram
from torch import nn


class Together:
    """Parts that are on the GPU at once, as the one thing that the web UI sends away before it brings another."""

    def __init__(self, parts: Iterable[nn.Module]):
        self.parts = list(parts)

    def to(self, device: torch.device) -> None:
        """Move all of them."""
        for part in self.parts:
            part.to(device)


class Placement:
    """Takes the place of the web UI's hooks in our turns.

    ``modules.lowvram`` brings a part when it is called, sends the one before it to main memory and remembers it in
    ``module_in_gpu``; a part that is remembered there it leaves alone. A training cannot have that: gradients of a text
    encoder pass the U-Net first, and both must stay. So each part is brought, and entered there, before it is called.

    Under ``--lowvram`` the U-Net is no part: the web UI's hooks bring it block by block, and its layers are borrowed.

    Args:
        parts: ``"unet"``, ``"te"`` and ``"vae"``, as the web UI moves them.
    """

    def __init__(self, parts: Mapping[str, nn.Module]):
        self._parts = parts
        self._here: set[str] = set()
        self._text_learns = False

    def take(self) -> None:
        """Our turn begins: see what the web UI has left on the GPU. Another model's part leaves it."""
        tracked = lowvram.module_in_gpu
        found = tracked.parts if isinstance(tracked, Together) else [tracked]
        parts = self._parts.items()
        self._here = {name for name, module in parts if _on_gpu(module) and any(module is other for other in found)}
        self._text_learns = False
        if not self._here:
            lowvram.send_everything_to_cpu()

    def bring(self, part: str) -> None:
        """Have a part on the GPU, and no more beside it than is needed.

        The VAE is there alone. A text encoder joins the U-Net; it leaves when the U-Net is used, unless gradients may
        have to pass it in this turn, which is so if they were on when it was used.
        """
        if part == "te":
            self._text_learns |= torch.is_grad_enabled()
        stay = {"te": {"unet"}, "unet": {"te"} if self._text_learns else set()}.get(part, set())
        lowvram.module_in_gpu = None  # should a move fail, the web UI takes nothing for granted
        for other in self._here - stay - {part}:
            self._parts[other].to(devices.cpu)
            self._here.remove(other)
        if part in self._parts and part not in self._here:
            self._parts[part].to(devices.device)
            self._here.add(part)
        lowvram.module_in_gpu = self._parts.get(part)

    def lend(self) -> None:
        """Our turn ends: whatever is on the GPU leaves it as soon as the web UI brings another part."""
        here = [self._parts[name] for name in self._here]
        block = lowvram.module_in_gpu
        if block is not None and not any(block is part for part in here):
            here.append(block)
        if here:
            lowvram.module_in_gpu = here[0] if len(here) == 1 else Together(here)
        self._here = set()


def _on_gpu(module: nn.Module) -> bool:
    """Not so where another U-Net, such as an engine's, has taken its place."""
    return next(module.parameters()).device.type == torch.device(devices.device).type
