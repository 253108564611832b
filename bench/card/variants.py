"""The ways in which a step is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """What differs from one image in plain weights with AdamW."""

    batch: int = 1
    checkpointing: bool = False
    packing: str = ""
    away: float = 0.0
    optimizer: str = "AdamW"


VARIANTS = {
    "": Variant(),
    "batch 4": Variant(batch=4),
    "checkpointing": Variant(checkpointing=True),
    "checkpointing, batch 4": Variant(batch=4, checkpointing=True),
    "fp8 base": Variant(packing="fp8"),
    "fp8 base, checkpointing": Variant(packing="fp8", checkpointing=True),
    "half of the base in main memory": Variant(away=0.5, checkpointing=True),
    "8-bit optimizer": Variant(optimizer="AdamW8bit"),
}
