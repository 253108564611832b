"""The families of base models, one file each; a new file in this folder is found without being named anywhere.

To add one: write ``families/NAME.py`` with a :class:`~lib_lora.models.family.Family` as a constant. A transformer is
stacks of blocks (:class:`lib_lora.models.dit.Stack`: each layer's path in the original code and its other names, one
with blanks between for a layer that others split), the layers outside of them, and what tells it from its relatives:
``marks`` (layers that they lack), ``widths``, ``marking``. Take the names from the original code and from ComfyUI's key
map, and say so in the docstring. Then add its layers to ``LAYERS`` in ``tests/adapters/test_families_merge.py``, which
proves merges, checkpoints and refusals, and its row to ``docs/families.md``.
"""

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
