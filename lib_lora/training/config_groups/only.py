"""When a setting has an effect: what a form can leave out, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lib_lora.adapters.algorithms import algorithms, choices, wrappable


@dataclass(frozen=True)
class Only:
    """A condition of a setting.

    Args:
        words: it, after "only", such as ``"with masks"``.
        holds: whether it is met by the other settings.
        prediction: what the model must predict, ``"flow"``; empty is anything.
    """

    words: str
    holds: Callable[[Any], bool]
    prediction: str = ""


def one_of(setting: str, label: str, values: tuple[str, ...]) -> Only:
    """Where ``setting``, called ``label``, is one of ``values``."""
    return Only(f"with the {label} {', '.join(values)}", lambda config: getattr(config, setting) in values)


def given(setting: str, label: str) -> Only:
    """Where ``setting``, called ``label``, is neither 0 nor empty nor off."""
    return Only(f"with {label}", lambda config: bool(getattr(config, setting)))


def reads(option: str) -> Only:
    """Where the algorithm reads ``option`` of a layer's specification."""
    known = algorithms()
    return one_of("algorithm", "algorithm", tuple(name for name in choices() if option in known[name].options))


DORA = one_of("algorithm", "algorithm", wrappable())
LEVEL = ("constant", "constant_with_warmup", "inverse_sqrt")  # schedules that end at no lowest rate
NESTED = one_of("algorithm", "algorithm", ("lora",))
WITH_MASKS = Only("with masks", lambda config: config.masks != "off")
HUBER = one_of("loss_type", "loss", ("huber", "smooth_l1"))
SHAPED = Only("where timesteps are not drawn evenly", lambda config: config.timestep_distribution != "uniform")
FALLING = Only("with a schedule that falls", lambda config: config.schedule not in LEVEL)
WARMED = Only("with another schedule than constant", lambda config: config.schedule != "constant")
CYCLIC = one_of("schedule", "schedule", ("cosine_with_restarts", "rex_with_restarts"))
STEPPED = one_of("schedule", "schedule", ("cosine_with_restarts", "rex_with_restarts", "step"))
EPOCHS = Only("where no steps are given", lambda config: not config.max_steps)
UNPROVEN = Only("from a settings file: that it helps is not shown yet", lambda _config: False)
FLOW = Only("for models of rectified flow", lambda _config: True, prediction="flow")
