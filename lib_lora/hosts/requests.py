"""What every host does with a request for an image."""

from __future__ import annotations

from collections.abc import Sequence

from lib_lora.adapters.network import Network
from lib_lora.errors import UserError
from lib_lora.models.base import GenerationRequest


def check(request: GenerationRequest, latent_factor: int, networks: Sequence[Network]) -> None:
    """Refuse what cannot be generated.

    Raises:
        UserError: size or steps.
        ValueError: the number of weights is not that of the networks.
    """
    factor = latent_factor
    if request.width % factor or request.height % factor or min(request.width, request.height) < factor:
        size = f"{request.width}×{request.height}"
        raise UserError("This size is not possible", where=size, fix=f"Use multiples of {factor}")
    if request.steps < 1:
        raise UserError("At least one sampling step is needed", where=f"steps {request.steps}")
    if request.weights and len(request.weights) != len(networks):
        raise ValueError(f"{len(request.weights)} weights for {len(networks)} networks")


def lora_tags(request: GenerationRequest, networks: Sequence[Network]) -> list[str]:
    """``<lora:name:weight>`` of each network that has a ``name``, with ``lbw=`` where it has block weights."""
    tags = []
    for index, network in enumerate(networks):
        weight = request.weights[index] if request.weights else network.multiplier
        if network.name:
            blocks = f":lbw={network.lbw}" if network.lbw else ""
            tags.append(f"<lora:{network.name}:{weight:g}{blocks}>")
    return tags
