"""Stage 3: the trained parts → one single-file checkpoint with its side-car yaml."""

from __future__ import annotations

from pathlib import Path

from ..architecture import save_checkpoint
from . import autoencoder, denoiser

METADATA = {
    "modelspec.title": "Paper-doll miniature",
    "modelspec.architecture": "stable-diffusion-v1",
    "modelspec.prediction_type": "epsilon",
    "modelspec.resolution": "128x128",
    "modelspec.license": "MIT",
    "modelspec.description": "A narrow Stable Diffusion 1.x trained from scratch on a procedural world of paper dolls.",
}


def export(folder: Path, target: Path) -> Path:
    """Write the newest averaged weights from ``folder`` to ``target``."""
    vae, _ = autoencoder.load(folder)
    model, table = denoiser.load(folder)
    text = model.text
    rows = len(table.token_ids)
    embedding = text.get_input_embeddings()
    embedding.weight.data = embedding.weight.data[:rows].clone()  # junk rows are drawn again on load
    return save_checkpoint(target, model.unet, vae, text, token_ids=table.token_ids, metadata=METADATA)
