"""Real pictures: packages of Debian, fetched once into ``.state/`` and only unpacked there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.dataset.real.sprites import Sprites

PACKAGES = ("renpy-thequestion", "renpy-demo")
FOLDER = Path(__file__).parents[3] / ".state" / "debian"


@pytest.fixture(scope="session")
def sprites() -> Sprites:
    """Three characters; their licence is Expat, as /usr/share/doc in the packages says."""
    missing = [package for package in PACKAGES if not (FOLDER / package).is_dir()]
    if missing and not (shutil.which("apt-get") and shutil.which("dpkg")):
        pytest.skip("these pictures come from Debian's packages")
    for package in missing:
        _unpack(package)
    return Sprites(FOLDER)


def _unpack(package: str) -> None:
    """Download a package and unpack it into a folder of its name; nothing is installed."""
    part = FOLDER / f".{package}"
    part.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", "-qq", package], cwd=part, check=True)
    archive = next(part.glob("*.deb"))
    subprocess.run(["dpkg", "-x", archive.name, "."], cwd=part, check=True)
    archive.unlink()
    part.rename(FOLDER / package)
