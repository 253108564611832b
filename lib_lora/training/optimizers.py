"""The optimizers that a run can use, and where each comes from.

torch is there anyway; pytorch-optimizer (pure Python) and bitsandbytes (8-bit states) are optional and imported only
when an optimizer of theirs is chosen. Any other class can be named as ``module.Class``, see :mod:`optimizer_classes`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

import torch

from lib_lora import packages
from lib_lora.errors import UserError
from lib_lora.packages import Package
from lib_lora.training.arguments import literal, pairs
from lib_lora.training.optimizer_classes import load_class, parameters_of

TORCH, EXTRA, BITS = "torch.optim", "pytorch_optimizer", "bitsandbytes.optim"
OPTIONAL = {EXTRA: packages.OPTIMIZERS, BITS: packages.BITS}
RENAMED = {
    "decouple": "weight_decouple",
    "use_bias_correction": "bias_correction",
}  # prodigyopt's names in kohya configs


@dataclass(frozen=True)
class Recipe:
    """How to make an optimizer.

    Attributes:
        package, kind: module and class.
        betas: what follows the two betas of the settings; None for a class that has none, or others of its own.
        arguments: passed to the class; the user's own arguments win.
        finds_rate: it estimates the rate itself; the learning rate is a factor, best 1, and one for all parts.
        own_rate: the learning rate and its schedule are ignored.
    """

    package: str
    kind: str
    betas: tuple[float, ...] | None = ()
    arguments: dict[str, Any] = field(default_factory=dict)
    finds_rate: bool = False
    own_rate: bool = False


def _adaptive(kind: str, betas: tuple[float, ...] | None = (), **arguments: Any) -> Recipe:
    return Recipe(EXTRA, kind, betas, arguments, finds_rate=True)


# fused: hundreds of small matrices would otherwise cost a dozen kernel launches each, and a pass over memory for each
RECIPES = {
    "AdamW": Recipe(TORCH, "AdamW", arguments={"fused": True}),
    "AdamW8bit": Recipe(BITS, "AdamW8bit"),
    "PagedAdamW8bit": Recipe(BITS, "PagedAdamW8bit"),
    "Lion": Recipe(EXTRA, "Lion"),
    "Lion8bit": Recipe(BITS, "Lion8bit"),
    "Adafactor": Recipe(EXTRA, "AdaFactor", None, {"relative_step": False, "scale_parameter": False}),
    "Adafactor (relative step)": Recipe(EXTRA, "AdaFactor", None, {"relative_step": True}, own_rate=True),
    "Prodigy": _adaptive("Prodigy", bias_correction=True, safeguard_warmup=True),
    "DAdaptAdam": _adaptive("DAdaptAdam", weight_decouple=True),
    "DAdaptLion": _adaptive("DAdaptLion", weight_decouple=True),
    "DAdaptSGD": _adaptive("DAdaptSGD", None),
    "DAdaptAdaGrad": _adaptive("DAdaptAdaGrad", None),
    "CAME": Recipe(EXTRA, "CAME", (0.9999,)),
    "AdEMAMix": Recipe(EXTRA, "AdEMAMix", (0.9999,), {"weight_decouple": True}),
    "AdEMAMix8bit": Recipe(BITS, "AdEMAMix8bit", (0.9999,)),
    "ScheduleFreeAdamW": Recipe(EXTRA, "ScheduleFreeAdamW"),
    "ScheduleFreeRAdam": Recipe(EXTRA, "ScheduleFreeRAdam"),
    "ScheduleFreeSGD": Recipe(EXTRA, "ScheduleFreeSGD", None),
    "SGD": Recipe(TORCH, "SGD", None, {"momentum": 0.9, "nesterov": True, "fused": True}),
}
ADAFACTOR_BETAS = (None, 0.9999)  # without momentum, as in kohya; the second is a cap that the decay reaches late


def make(
    name: str, groups: list[dict[str, Any]], betas: tuple[float, float], weight_decay: float, extra: str = ""
) -> torch.optim.Optimizer:
    """The optimizer called ``name`` over parameter groups that have their ``lr``.

    Args:
        name: of :data:`RECIPES`, or ``module.Class``.
        betas: of the settings; classes without betas do not get them, nor a weight decay that they do not know.
        extra: further arguments as ``name=value``, separated by blanks; see :func:`parse_arguments`.

    Raises:
        UserError: its package is missing, it does not know an argument, or lacks one that it needs.
    """
    recipe = recipe_of(name)
    kind = _load(name, recipe)
    known = parameters_of(kind)
    arguments: dict[str, Any] = {"weight_decay": weight_decay, **recipe.arguments}
    if "weight_decay" not in known:
        del arguments["weight_decay"]
    if recipe.betas is not None:
        arguments["betas"] = (*betas, *recipe.betas)
    elif recipe.kind == "AdaFactor":
        arguments["betas"] = ADAFACTOR_BETAS
    own = parse_arguments(extra, renamed=name in RECIPES)
    if unknown := sorted(own.keys() - known.keys()):
        fix = "It knows " + ", ".join(sorted(known))
        raise UserError(f"{name} has no argument {unknown[0]!r}", where="optimizer_args", fix=fix)
    try:
        optimizer = _made(kind, groups, arguments, own)
    except Exception as error:  # a class by its name may raise anything
        raise UserError(f"{name} refuses its settings ({error})", where="optimizer_args") from error
    if hasattr(optimizer, "train"):
        optimizer.train()  # schedule-free
    return optimizer


def _made(
    kind: type[torch.optim.Optimizer], groups: list[dict[str, Any]], arguments: dict[str, Any], own: dict[str, Any]
) -> torch.optim.Optimizer:
    """One kernel for all of an optimizer's steps where torch has it for the device, else one for each operation."""
    if arguments.get("fused") and "foreach" not in own:
        try:
            return kind([dict(group) for group in groups], **{**arguments, **own})
        except (RuntimeError, TypeError):  # DirectML; an older torch
            if "fused" in own:
                raise
        own = {"foreach": True, **own}
    if "foreach" in own:
        arguments = {name: value for name, value in arguments.items() if name != "fused"}
    return kind(groups, **{**arguments, **own})


def recipe_of(name: str) -> Recipe:
    """How to make the optimizer called ``name``; for ``module.Class`` as the class itself shows it.

    Raises:
        UserError: there is no such class, or it may not be used from here.
    """
    if name in RECIPES:
        return RECIPES[name]
    known = parameters_of(load_class(name))
    package, _, kind = name.rpartition(".")
    betas = known["betas"].default if "betas" in known else None
    further = tuple(betas[2:]) if isinstance(betas, (tuple, list)) else ()
    finds_rate = not {"d0", "d_coef"}.isdisjoint(known)  # as Prodigy and its relatives have them
    return Recipe(package, kind, further if "betas" in known else None, finds_rate=finds_rate)


def check_optimizer(name: str, betas: tuple[float, float], weight_decay: float, extra: str) -> None:
    """Refuse what :func:`make` would refuse at the start of training. A missing package of the list is no fault here.

    Raises:
        UserError: naming ``optimizer`` or ``optimizer_args``.
    """
    package = needed_package(name) if name in RECIPES else None
    if package is None or not package.missing:
        make(name, [{"params": [torch.nn.Parameter(torch.zeros(2, 2))], "lr": 1e-3}], betas, weight_decay, extra)


def needed_package(name: str | None) -> Package | None:
    """The optional package that an optimizer comes from; None for torch's own, and for names that are none."""
    recipe = RECIPES.get(name or "")
    package = (recipe.package if recipe else name or "").partition(".")[0]
    return next((optional for optional in OPTIONAL.values() if optional.module == package), None)


def parse_arguments(text: str, *, renamed: bool = True) -> dict[str, Any]:
    """``"d_coef=2 weight_decouple=True betas=(0.9,0.99)"`` as a dict.

    Args:
        renamed: whether kohya's names are translated into those of pytorch-optimizer.

    Raises:
        UserError: a word that is not ``name=value`` with a Python literal.
    """
    words, rest = pairs(text)
    found = {name: literal(word) for name, word in words.items()}
    bad = rest or [name for name, value in found.items() if isinstance(value, str) or not name.isidentifier()]
    if bad:
        fix = "Write name=value, for example d_coef=2 betas=(0.9, 0.99)"
        raise UserError(f"{bad[0]!r} is no argument", where="optimizer_args", fix=fix)
    return {RENAMED.get(name, name): value for name, value in found.items()} if renamed else found


def _load(name: str, recipe: Recipe) -> type[torch.optim.Optimizer]:
    if name not in RECIPES:
        return load_class(name)
    try:
        found: type[torch.optim.Optimizer] = getattr(importlib.import_module(recipe.package), recipe.kind)
        return found
    except ImportError as error:
        package = OPTIONAL[recipe.package]
        what = f"{name} needs the package {package.name}, which is not installed or does not work here"
        fix = f"Choose AdamW, or install it without its dependencies: pip install --no-deps {package.pin}"
        raise UserError(what, where="optimizer", fix=fix) from error
