"""Going on from the committed checkpoint where no training state is left."""

from __future__ import annotations

from torch import Tensor

from ...hosts.standalone.checkpoint import load_checkpoint
from .. import CHECKPOINT
from .captions import JUNK, CaptionTable

EMBEDDING = "token_embedding.weight"


def vae_weights() -> dict[str, Tensor] | None:
    """The VAE's weights in the committed checkpoint, None when there is none."""
    return load_checkpoint(CHECKPOINT).vae.state_dict() if CHECKPOINT.exists() else None


def denoiser_weights(table: CaptionTable) -> dict[str, Tensor] | None:
    """U-Net and text model under the names of :class:`denoiser.Model`, the embedding cut down to ``table``'s rows."""
    if not CHECKPOINT.exists():
        return None
    model = load_checkpoint(CHECKPOINT)
    weights = {f"unet.{n}": t for n, t in model.unet.state_dict().items()}
    for name, tensor in model.text_encoder.state_dict().items():
        if name.endswith(EMBEDDING):
            tensor = tensor[[*table.token_ids, *range(JUNK)]]  # any untrained rows may stand for unknown words
        weights[f"text.{name}"] = tensor
    return weights
