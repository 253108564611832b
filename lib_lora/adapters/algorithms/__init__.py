"""The adapter algorithms, one per file; a new file in this folder is found without being named anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from lib_lora.adapters.base import Adapter
from lib_lora.errors import UserError

# What other trainers write and we cannot read yet, told apart by the start of a parameter name. Order matters:
# DoRA files also hold LoRA names.
UNSUPPORTED = {
    "dora_scale": "DoRA",
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "oft_": "OFT/BOFT",
    "on_input": "IA3",
    "a1.": "GLoRA",
    "b1.": "GLoRA",
    "diff": "full-difference",
    "w_norm": "norm",
    "b_norm": "norm",
}


@cache
def algorithms() -> dict[str, type[Adapter]]:
    """Every algorithm by its name."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return {cls.algorithm: cls for cls in Adapter.__subclasses__()}


def algorithm(name: str) -> type[Adapter]:
    """The algorithm called ``name``, or a UserError that lists the valid names."""
    if name not in algorithms():
        raise UserError(f"Unknown algorithm {name!r}", where="algorithm", fix=f"Use one of {sorted(algorithms())}.")
    return algorithms()[name]


def algorithm_for(names: Iterable[str]) -> type[Adapter]:
    """The algorithm whose parameters are called ``names`` in a file.

    Raises:
        UserError: naming the algorithm where it is known but not supported.
    """
    names = set(names)
    for cls in algorithms().values():
        if names <= set(cls.param_names):
            return cls
    for start, name in UNSUPPORTED.items():
        if any(n.startswith(start) for n in names):
            raise UserError(f"This is a {name} file, which cannot be used yet", fix="Use a LoRA or LoCon file.")
    raise UserError(f"Unknown adapter parameters {', '.join(sorted(names))}", fix="Use a LoRA or LoCon file.")
