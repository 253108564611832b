"""The adaptable layers of live modules, by the names of LoRA files."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from lib_lora.models.layers import kohya_key
from lib_lora.models.weights import weight_shape

# class name -> dimensions of the weight; GroupNorm32 is ldm's
KINDS = {
    **dict.fromkeys(("Linear", "NonDynamicallyQuantizableLinear"), 2),
    "Conv2d": 4,
    **dict.fromkeys(("LayerNorm", "GroupNorm", "GroupNorm32"), 1),
}


def live_layers(part: str, module: nn.Module, rename: Callable[[str], str] = str) -> dict[str, nn.Module]:
    """Kohya key -> live module of every linear layer, convolution and normalisation.

    They are told by the name of their class and the rank of their weight: Forge's ``Linear`` is not PyTorch's.

    Args:
        part: ``"unet"`` or a text encoder, ``"te"``, ``"te1"`` or ``"te2"``.
        module: the U-Net or the text encoder.
        rename: from the module's path in ``module`` to its diffusers path.
    """
    return {kohya_key(part, rename(path)): m for path, m in module.named_modules() if _is_layer(m)}


def _is_layer(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return weight is not None and len(weight_shape(module)) == KINDS.get(type(module).__name__)
