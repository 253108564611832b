"""An optimizer's class by its dotted name, of a package that is installed, and what can be read from the class."""

from __future__ import annotations

import importlib
import inspect
import site
import sys
import sysconfig
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

import torch

from lib_lora.access import admit_code
from lib_lora.errors import UserError

EXAMPLE = "Name a class of an installed package, for example torch.optim.RAdam, or choose AdamW"
GIVEN = {"self", "params", "defaults", "lr"}  # by the trainer, never by the user


def load_class(name: str) -> type[torch.optim.Optimizer]:
    """The class ``module.Class``. Its package must lie where this Python installs packages, so that a file in the
    present folder or among the images is never run.

    Raises:
        UserError: the caller may not run code, the package is not installed, the module cannot be imported, or the
            class is no optimizer that takes a step by itself.
    """
    admit_code()
    module, _, kind = name.rpartition(".")
    _check_installed(module.partition(".")[0], name)
    try:
        found = getattr(importlib.import_module(module), kind, None)
    except (Exception, SystemExit) as error:  # a module may raise anything
        what = f"{module} cannot be imported ({type(error).__name__}: {error})"
        raise UserError(what, where="optimizer", fix=EXAMPLE) from error
    if found is None:
        raise UserError(f"{module} has no class {kind}", where="optimizer", fix=EXAMPLE)
    if not (isinstance(found, type) and issubclass(found, torch.optim.Optimizer)) or found is torch.optim.Optimizer:
        what = f"{name} is no optimizer: it does not derive from torch.optim.Optimizer"
        raise UserError(what, where="optimizer", fix=EXAMPLE)
    step = list(inspect.signature(found.step).parameters.values())[1:]
    if any(p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in step):
        what = f"{name} needs a closure for each of its steps, which training does not give"
        raise UserError(what, where="optimizer", fix=EXAMPLE)
    return found


def parameters_of(kind: type[torch.optim.Optimizer]) -> dict[str, inspect.Parameter]:
    """Name -> parameter of what a user may give; of a class that passes ``**kwargs`` on, those of its bases too."""
    found: dict[str, inspect.Parameter] = {}
    for one in kind.__mro__:
        if one is torch.optim.Optimizer:
            break
        if "__init__" not in vars(one):
            continue
        parameters = inspect.signature(vars(one)["__init__"]).parameters
        named = {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        found = {**named, **found}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return {name: parameter for name, parameter in found.items() if name not in GIVEN}


def _check_installed(package: str, name: str) -> None:
    """Refuse a package that is not where packages are installed, or that another file of its name hides."""
    spec = PathFinder.find_spec(package, [str(folder) for folder in _folders()])
    origin = _origin(spec)
    if origin is None:
        what = f"{name} needs the package {package}, which is not installed"
        raise UserError(what, where="optimizer", fix=EXAMPLE)
    loaded = sys.modules.get(package)
    if _origin(loaded.__spec__ if loaded is not None else find_spec(package)) != origin:
        what = f"{name} would be taken from a file that hides the installed package {package}"
        raise UserError(what, where="optimizer", fix=f"Rename that file or folder, {package}, and start again")


def _origin(spec: ModuleSpec | None) -> Path | None:
    return Path(spec.origin).resolve() if spec is not None and spec.origin and spec.has_location else None


def _folders() -> list[Path]:
    """Where packages are installed; torch's folder is one of them, wherever a host keeps it."""
    found = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    found += [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return [*map(Path, found), Path(torch.__file__).parents[1]]
