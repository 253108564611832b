"""Which settings have no meaning for a rectified flow, and why."""

from __future__ import annotations

from dataclasses import replace

from lib_lora.training.config import TrainConfig, settings

# Setting -> why it has no meaning; the value in the settings' defaults or 0 switches it off
MEANINGLESS = {name: f.metadata["no_flow"] for name, f in settings().items() if f.metadata["no_flow"]}


def meaningful(config: TrainConfig) -> tuple[TrainConfig, list[str]]:
    """The settings without those that have no meaning for a flow, and a sentence for each that was switched on."""
    on = {name: settings()[name].metadata["label"] for name in MEANINGLESS if getattr(config, name)}
    off = {name: type(getattr(config, name))(0) for name in on}
    return replace(config, **off), [f"{label} is left out: {MEANINGLESS[name]}" for name, label in on.items()]
