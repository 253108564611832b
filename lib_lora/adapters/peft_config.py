"""The scale of a LoRA that PEFT or diffusers saved: it stands beside the tensors, not among them.

PEFT writes ``adapter_config.json`` into the folder of ``adapter_model.safetensors``; diffusers puts the same settings
into the file's metadata, with the part of the model before each name (``unet.lora_alpha``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib_lora.errors import UserError

CONFIG_NAME = "adapter_config.json"
MODEL_NAME = "adapter_model"
METADATA_NAME = "lora_adapter_metadata"
MAX_CONFIG = 10_000_000  # bytes
MAX_PATTERN = 500  # letters
RESIDUAL = ("pissa", "olora", "corda", "loftq", "eva_residual")
_PART = re.compile(r"(?:(?P<part>.+)\.)?(?P<name>[^.]+)")
# A group that is repeated, or many repetitions: what can take for ever on a path of a hundred letters
_SLOW = re.compile(r"\)[*+?{]|(?:[*+?{].*){5,}|\\\d|\(\?")


@dataclass(frozen=True)
class PeftConfig:
    """How PEFT scales an adapter.

    Attributes:
        alpha, rank: ΔW is scaled by alpha / rank; the rank in use is that of the tensors where they have one.
        rs_lora: by alpha / √rank instead.
        alphas, ranks: regular expressions that a module's path has to end with -> another alpha, another rank.
    """

    alpha: float
    rank: float = 0
    rs_lora: bool = False
    alphas: Mapping[str, float] = field(default_factory=dict)
    ranks: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, values: Mapping[str, Any], where: str | Path) -> PeftConfig | None:
        """From the settings by PEFT's names; None where they do not tell an alpha.

        Raises:
            UserError: a value that cannot be read, or an adapter that changed the base weights.
        """
        alpha = values.get("lora_alpha", values.get("alpha"))
        if alpha is None:
            return None
        start = values.get("init_lora_weights", "")
        if isinstance(start, str) and start.lower().startswith(RESIDUAL):
            what = f"This LoRA was started by {start}, which changes the checkpoint too"
            fix = "Save it again with PEFT's path_initial_model_for_weight_conversion."
            raise UserError(what, where=where, fix=fix)
        return cls(
            _number("lora_alpha", alpha, where),
            _number("r", values.get("r", 0) or 0, where),
            values.get("use_rslora") is True,
            _patterns("alpha_pattern", values, where),
            _patterns("rank_pattern", values, where),
        )

    def alpha_for(self, path: str, rank: float) -> float:
        """The alpha for a loader that scales by alpha / ``rank``, of the module at ``path`` within its part."""
        alpha = _matched(self.alphas, path, self.alpha)
        return alpha * math.sqrt(rank) if self.rs_lora else alpha

    def scale_for(self, path: str) -> float:
        """alpha / rank of a module whose tensors have no rank, such as two full matrices of LoKr."""
        return _matched(self.alphas, path, self.alpha) / (_matched(self.ranks, path, self.rank) or 1.0)


def config_beside(path: Path) -> PeftConfig | None:
    """The config that lies beside ``path``, if it is meant for it: PEFT's own name, or the only model in the folder.

    Raises:
        UserError: it is there and cannot be read.
    """
    config = path.with_name(CONFIG_NAME)
    if not config.is_file():
        return None
    if not path.stem.startswith(MODEL_NAME) and len(list(path.parent.glob("*.safetensors"))) > 1:
        return None
    fix = "Copy it again from where the LoRA is from."
    try:
        if config.stat().st_size > MAX_CONFIG:
            raise ValueError("it is too large")
        values = json.loads(config.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"The settings of this LoRA cannot be read ({error})", where=config, fix=fix) from error
    if not isinstance(values, dict):
        raise UserError("The settings of this LoRA are not a table", where=config, fix=fix)
    return PeftConfig.read(values, config)


def configs_in(metadata: Mapping[str, str], path: Path) -> dict[str, PeftConfig]:
    """Part of the model, such as ``unet`` or ``text_encoder_2`` or an empty text -> its config in the metadata."""
    try:
        values = json.loads(metadata.get(METADATA_NAME, "{}"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(values, dict):
        return {}
    by_part: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if match := _PART.fullmatch(name):
            by_part.setdefault(match["part"] or "", {})[match["name"]] = value
    found = {part: PeftConfig.read(settings, path) for part, settings in by_part.items()}
    return {part: config for part, config in found.items() if config is not None}


def _patterns(name: str, values: Mapping[str, Any], where: str | Path) -> dict[str, float]:
    patterns = values.get(name) or {}
    if not isinstance(patterns, dict):
        raise UserError(f"{name} is not a table", where=where, fix="Copy the file again from where the LoRA is from.")
    for pattern in patterns:
        try:
            usable = len(pattern) <= MAX_PATTERN and not _SLOW.search(pattern) and re.compile(pattern)
        except re.error:
            usable = None
        if not usable:
            fix = "Name the layers by their paths there."
            raise UserError(f"The pattern {pattern[:80]!r} of {name} cannot be used", where=where, fix=fix)
    return {pattern: _number(name, value, where) for pattern, value in patterns.items()}


def _matched(patterns: Mapping[str, float], path: str, otherwise: float) -> float:
    """The value of the first pattern that is the path, or its end after a dot; as PEFT does it."""
    return next((value for p, value in patterns.items() if re.match(rf"(.*\.)?({p})$", path)), otherwise)


def _number(name: str, value: object, where: str | Path) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise UserError(f"{name} is {value!r}, which is no number", where=where, fix="Write the number there.")
    return number
