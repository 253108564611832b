"""The adapter algorithms, one per file; a new file in this folder is found without being named anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from torch import Tensor

from lib_lora.adapters.base import Adapter
from lib_lora.errors import UserError


@cache
def algorithms() -> dict[str, type[Adapter]]:
    """Every algorithm by its name."""
    found: dict[str, type[Adapter]] = {}
    for info in iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        own = (value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__)
        found |= {cls.algorithm: cls for cls in own if isinstance(cls, type) and issubclass(cls, Adapter)}
    return found


def choices() -> tuple[str, ...]:
    """The names of those that a user may choose, in their order."""
    ordered = sorted(algorithms().values(), key=lambda cls: cls.place)
    return tuple(cls.algorithm for cls in ordered if cls.chosen)


def wrappable() -> tuple[str, ...]:
    """The names of those that DoRA may be put around."""
    return tuple(name for name in choices() if algorithms()[name].wrappable)


def algorithm(name: str) -> type[Adapter]:
    """The algorithm called ``name``, or a UserError that lists the valid names."""
    if name not in algorithms():
        raise UserError(f"Unknown algorithm {name!r}", where="algorithm", fix=f"Use one of {sorted(algorithms())}.")
    return algorithms()[name]


def algorithm_for(tensors: Mapping[str, Tensor]) -> type[Adapter]:
    """The algorithm that one layer's tensors in a file belong to, by their names and, where shared, their shapes.

    Raises:
        UserError: naming the parameters that no algorithm knows.
    """
    for cls in algorithms().values():
        if cls.reads(tensors):
            return cls
    raise UserError(
        f"Unknown adapter parameters {', '.join(sorted(tensors))}",
        fix=f"Use a file of {', '.join(cls.label for cls in algorithms().values())}.",
    )
