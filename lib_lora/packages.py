"""Optional packages: what lacks one says so, and one click installs exactly that package into the running Python.

A web UI's packages are its own. So a package is installed pinned, as a wheel and without what it asks for; pip has to
say beforehand that nothing else would change, and the package has to be importable afterwards, or it goes again.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

from lib_lora.errors import UserError

PYTHON = Path(sys.executable)
LISTING = """
import json, importlib.metadata
print(json.dumps({d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}))
"""
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")
_INSTALLING = Lock()


@dataclass(frozen=True)
class Package:
    """One that the program can do without.

    Attributes:
        name: on PyPI.
        module: what is imported of it.
        version: the one that the tests run with.
        older: the last version for Python 3.10, where that is another.
    """

    name: str
    module: str
    version: str
    older: str = ""

    @property
    def pin(self) -> str:
        """For pip, in the running Python."""
        return f"{self.name}=={self.older if self.older and sys.version_info < (3, 11) else self.version}"

    @property
    def missing(self) -> bool:
        """Whether it cannot be found; a broken one is there."""
        return find_spec(self.module) is None


OPTIMIZERS = Package("pytorch-optimizer", "pytorch_optimizer", "4.1.0")
BITS = Package("bitsandbytes", "bitsandbytes", "0.50.2")
ONNX = Package("onnxruntime", "onnxruntime", "1.31.1", older="1.23.2")
PACKAGES = {package.name: package for package in (OPTIMIZERS, BITS, ONNX)}


def install(package: Package, python: Path = PYTHON) -> str:
    """Install ``package`` and nothing else; returns what has been done, in a sentence.

    Args:
        python: into whose environment.

    Raises:
        UserError: pip is not there or refuses, something else would change, or the package does not work here; what was
            installed has gone again.
    """
    if not _INSTALLING.acquire(blocking=False):
        raise UserError("Another package is being installed", fix="Wait until it is done")
    try:
        before = _installed(python)
        if package.name in before:
            what = f"Version {before[package.name]} is installed and does not work here"
            raise UserError(what, where=package.name, fix=f"Remove it yourself: pip uninstall {package.name}")
        _check(package, python)
        _pip(package, python, "install", "--no-deps", "--only-binary", ":all:", "--quiet", package.pin)
        _verify(package, python, before)
    finally:
        _INSTALLING.release()
    importlib.invalidate_caches()
    return f"{package.pin.replace('==', ' ')} is installed, without anything else."


def _check(package: Package, python: Path) -> None:
    """That pip would install that one package and touch no other."""
    options = ("install", "--no-deps", "--only-binary", ":all:", "--dry-run", "--quiet", "--report", "-")
    report: dict[str, Any] = json.loads(_pip(package, python, *options, package.pin))
    names = [str(entry["metadata"]["name"]) for entry in report.get("install", [])]
    if [_plain(name) for name in names] != [_plain(package.name)]:
        what = f"pip would install {', '.join(names) or 'nothing'}"
        raise UserError(what, where=package.pin, fix="Nothing was changed. Install it yourself")


def _verify(package: Package, python: Path, before: Mapping[str, str]) -> None:
    """That it is there, nothing else is other than ``before``, and it can be imported; else it is removed."""
    after = _installed(python)
    other = sorted(name for name in before if after.get(name) != before[name])
    tried = _run(python, "-c", f"import {package.module}")
    if not other and tried.returncode == 0:
        return
    _pip(package, python, "uninstall", "--yes", "--quiet", package.name)
    reason = f"{', '.join(other)} changed" if other else _last_line(tried.stderr)
    fix = "It was removed again. Choose something that does not need it"
    raise UserError(f"It does not work in this Python ({reason})", where=package.pin, fix=fix)


def _installed(python: Path) -> dict[str, str]:
    """Name of each package -> version."""
    found: dict[str, str] = json.loads(_run(python, "-c", LISTING).stdout or "{}")
    return found


def _pip(package: Package, python: Path, *arguments: str) -> str:
    done = _run(python, *PIP, *arguments)
    if done.returncode:
        fix = "Nothing was changed. Check the connection, or install it yourself"
        raise UserError(f"pip could not do it ({_last_line(done.stderr)})", where=package.pin, fix=fix)
    return done.stdout


def _run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), *arguments], capture_output=True, check=False, encoding="utf-8", errors="replace",
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "no message")


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
