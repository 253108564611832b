"""Real pictures: packages of Debian and npm, fetched once into ``.state/`` and only unpacked there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.dataset.real.emoji import Emoji
from tests.dataset.real.sprites import Sprites
from tests.dataset.real.stamps import Stamps

GAMES = ("renpy-thequestion", "renpy-demo")
STAMPS = "tuxpaint-stamps-default"  # 160 MB
EMOJI = "openmoji@17.0.0"
STATE = Path(__file__).parents[3] / ".state"
FOLDER, NPM = STATE / "debian", STATE / "npm"


@pytest.fixture(scope="session")
def sprites() -> Sprites:
    """Three characters; their licence is Expat, as /usr/share/doc in the packages says."""
    _fetch(*GAMES)
    return Sprites(FOLDER)


@pytest.fixture(scope="session")
def stamps() -> Stamps:
    """Animals, plants, food and vehicles; their licence is GPL-2."""
    _fetch(STAMPS)
    return Stamps(FOLDER / STAMPS)


@pytest.fixture(scope="session")
def emoji() -> Emoji:
    """Subjects in two styles; their licence is CC-BY-SA-4.0."""
    npm = shutil.which("npm")
    if not (NPM / EMOJI).is_dir():
        if npm is None:
            pytest.skip("these pictures come from npm's registry")
        part = NPM / f".{EMOJI}"
        part.mkdir(parents=True, exist_ok=True)
        subprocess.run([npm, "pack", "--silent", EMOJI], cwd=part, check=True, stdout=subprocess.DEVNULL)
        shutil.unpack_archive(next(part.glob("*.tgz")), part)
        part.rename(NPM / EMOJI)
    return Emoji(NPM / EMOJI / "package")


def _fetch(*packages: str) -> None:
    missing = [package for package in packages if not (FOLDER / package).is_dir()]
    if missing and not (shutil.which("apt-get") and shutil.which("dpkg")):
        pytest.skip("these pictures come from Debian's packages")
    for package in missing:
        _unpack(package)


def _unpack(package: str) -> None:
    """Download a package and unpack it into a folder of its name; nothing is installed."""
    part = FOLDER / f".{package}"
    part.mkdir(parents=True, exist_ok=True)
    download = ["apt-get", "download", "-qq", package]
    if subprocess.run(download, cwd=part, check=False).returncode:
        subprocess.run(["apt-get", "update", "-qq"], check=True)  # the lists of packages are missing or old
        subprocess.run(download, cwd=part, check=True)
    archive = next(part.glob("*.deb"))
    subprocess.run(["dpkg", "-x", archive.name, "."], cwd=part, check=True)
    archive.unlink()
    part.rename(FOLDER / package)
