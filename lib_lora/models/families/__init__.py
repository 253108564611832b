"""The families of base models, one file each; a new file in this folder is found without being named anywhere."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from lib_lora.errors import UserError
from lib_lora.models.family import Family


@cache
def families() -> dict[str, Family]:
    """Every family by its name, those that a doubtful file is taken for first."""
    found: dict[str, Family] = {}
    for info in iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        found |= {value.name: value for value in vars(module).values() if isinstance(value, Family)}
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def family(name: str) -> Family:
    """The family called ``name``, as models and metadata name it.

    Raises:
        UserError: there is none; lists those that there are.
    """
    if name not in families():
        known = ", ".join(f.short for f in families().values())
        raise UserError(f"Models of family {name!r} are not known here", where="model", fix=f"Choose one of {known}.")
    return families()[name]
