"""How often what is drawn at random is tried: quick by default, ``LORA_WORKBENCH_ROUNDS=20`` for a long campaign."""

from __future__ import annotations

import os

FACTOR = int(os.environ.get("LORA_WORKBENCH_ROUNDS", "1"))


def rounds(count: int) -> int:
    """``count``, times what the environment asks for."""
    return count * FACTOR
