"""What a checkpoint is, by the header of its file, before a web UI has loaded it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from lib_lora.adapters.base_weights import CheckpointWeights
from lib_lora.errors import UserError

UNTOLD = ("sd1", "epsilon")
V_PREDICTION = "v_pred"  # a tensor by which files of SDXL say it


def outline(path: Path) -> tuple[str, str]:
    """Family and prediction; SD1's where the header does not tell, as in a ``.ckpt``."""
    try:
        return _outline(path, path.stat().st_mtime_ns)
    except OSError:
        return UNTOLD


@lru_cache(maxsize=32)
def _outline(path: Path, _changed: int) -> tuple[str, str]:
    try:
        weights = CheckpointWeights(path)
    except UserError:
        return UNTOLD
    names = weights.container.entries
    return weights.family.name, "v" if V_PREDICTION in names else weights.family.prediction
