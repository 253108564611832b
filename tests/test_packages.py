"""One package and nothing else, into an environment of its own, from wheels that are made here."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from lib_lora import packages
from lib_lora.access import Access, Refused, guarded, under
from lib_lora.errors import UserError
from lib_lora.packages import Package, install
from lib_lora.training.optimizers import RECIPES, needed_package
from lib_lora.ui.packages_panel import PackageOffer

ROOT = Path(__file__).parents[1]
TOY = Package("toy-package", "toy_package", "1.0")
BROKEN = Package("toy-broken", "toy_broken", "1.0")


def wheel(folder: Path, package: Package, code: str, needs: str = "") -> None:
    stem = f"{package.module}-{package.version}"
    info = f"{stem}.dist-info"
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as file:
        file.writestr(f"{package.module}.py", code)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package.name}\nVersion: 1.0\n{requires}")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an empty environment that sees pip."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next(folder.glob("lib/python*/site-packages"), folder / "Lib" / "site-packages")
    pip = distribution("pip").locate_file("")  # to import it warns where another test has imported distutils
    (site / "pip.pth").write_text(str(pip), encoding="utf-8")
    return next(p for p in (folder / "bin" / "python", folder / "Scripts" / "python.exe") if p.exists())


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels; nothing else can be had."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path


def works(python: Path, package: Package) -> bool:
    tried = subprocess.run([str(python), "-c", f"import {package.module}"], capture_output=True, check=False)
    return tried.returncode == 0


def test_it_alone_is_installed_whatever_it_asks_for(python, index):
    wheel(index, TOY, "", needs="numpy<1")
    assert "toy-package 1.0" in install(TOY, python) and works(python, TOY)
    with pytest.raises(UserError, match=r"1\.0 is installed and does not work"):
        install(TOY, python)


def test_what_cannot_be_imported_goes_again(python, index):
    wheel(index, BROKEN, "raise ImportError('wants another numpy')")
    with pytest.raises(UserError, match="wants another numpy"):
        install(BROKEN, python)
    assert "toy-broken" not in packages._installed(python)


def test_what_pip_cannot_find_changes_nothing(python):
    with pytest.raises(UserError, match="No matching distribution") as refused:
        install(Package("toy-nowhere", "toy_nowhere", "1.0"), python)
    assert refused.value.where == "toy-nowhere==1.0"


@pytest.mark.parametrize("names", [["toy-package", "numpy"], ["numpy"], []])
def test_nothing_is_installed_where_pip_would_do_anything_else(monkeypatch, names):
    calls = []

    def pip(_package, _python, *arguments):
        calls.append(arguments)
        return json.dumps({"install": [{"metadata": {"name": name}} for name in names]})

    monkeypatch.setattr(packages, "_pip", pip)
    monkeypatch.setattr(packages, "_installed", lambda _python: {})
    with pytest.raises(UserError, match="pip would install"):
        install(TOY)
    assert len(calls) == 1


def test_one_at_a_time():
    with packages._INSTALLING, pytest.raises(UserError, match="Another package"):
        install(TOY)


def test_the_versions_are_those_of_the_tests():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package in packages.PACKAGES.values():
        assert all(f'"{package.name}=={version}' in text for version in filter(None, (package.version, package.older)))


def test_each_optional_optimizer_names_its_package():
    needed = {name: needed_package(name) for name in RECIPES}
    assert needed["Prodigy"] is needed["CAME"] is packages.OPTIMIZERS and needed["AdamW8bit"] is packages.BITS
    assert needed["AdamW"] is None and needed_package(None) is needed_package("nobody's") is None


def test_the_offer_is_in_sight_only_while_the_package_is_missing(monkeypatch):
    offer = PackageOffer("This optimizer", lambda name: TOY if name == "toy" else None, "x")
    said, button = offer.view("toy")
    assert "toy-package" in said and button == {"value": "Install toy-package 1.0", "visible": True}
    assert not offer.view("AdamW")[1]["visible"]
    monkeypatch.setattr(Package, "missing", property(lambda _self: False))
    assert offer.view("toy")[0] == ""


@pytest.mark.parametrize("access", [Access(read_only=True), Access(hide_paths=True)])
def test_it_is_refused_where_extensions_could_not_be_installed_either(access):
    offer = PackageOffer("This optimizer", lambda: TOY, "x")
    with under(access):
        click = guarded(offer.install)
    with pytest.raises(Refused):
        click()
