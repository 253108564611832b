"""Generation parameters as A1111 writes them into PNG files, so that its "PNG Info" can read ours."""

from __future__ import annotations

from collections.abc import Sequence

from lib_lora import __version__
from lib_lora.adapters.network import Network
from lib_lora.hosts.requests import lora_tags
from lib_lora.models.base import GenerationRequest


def infotext(request: GenerationRequest, model_name: str, model_hash: str, networks: Sequence[Network] = ()) -> str:
    """The text for the PNG chunk ``parameters``.

    Args:
        request: what was made.
        model_name: of the checkpoint.
        model_hash: SHA-256 of its file; the first ten digits are written.
        networks: those with a ``name`` appear in the prompt as ``<lora:name:weight>``.
    """
    prompt = " ".join([request.prompt, *lora_tags(request, networks)])
    settings = {
        "Steps": request.steps,
        "Sampler": request.sampler,
        "CFG scale": f"{request.cfg:g}",
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model hash": model_hash[:10],
        "Model": model_name,
    }
    if request.clip_skip > 1:
        settings["Clip skip"] = request.clip_skip
    settings["Version"] = f"LoRA Workbench {__version__}"
    negative = f"\nNegative prompt: {request.negative}" if request.negative else ""
    return f"{prompt}{negative}\n{', '.join(f'{k}: {v}' for k, v in settings.items())}"
