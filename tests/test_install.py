"""install.py: silent in a web UI, installs once elsewhere, and passes exit codes on."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "install.py"


class Commands:
    """Stands for ``install.run``: notes each command and answers with the exit code set for its last words."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.codes: dict[str, int] = {}

    def __call__(self, command: list[str | Path], **environment: str) -> int:
        words = [str(word) for word in command]
        self.seen.append(words[1:])
        return next((code for text, code in self.codes.items() if text in " ".join(words)), 0)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """install.py as a module whose ``.venv`` is an empty folder, and which starts no programs."""
    spec = importlib.util.spec_from_file_location("install", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    python = tmp_path / "python"
    python.touch()
    monkeypatch.setattr(module, "VENV", tmp_path)
    monkeypatch.setattr(module, "VENV_PYTHON", python)
    monkeypatch.setattr(module, "STAMP", tmp_path / "installed.txt")
    monkeypatch.setattr(module, "HOST_PINS", tmp_path / "pins")
    monkeypatch.setattr(module, "answers", lambda *_: True)
    monkeypatch.setattr(module, "find_browser", lambda: "/usr/bin/chromium")
    monkeypatch.setattr(module, "run", Commands())
    return module


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_without_a_command_it_is_silent_and_changes_nothing(tmp_path: Path) -> None:
    for file in (SCRIPT, ROOT / "pyproject.toml"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    before = contents(tmp_path)
    # -I -S: no environment, no installed packages
    done = subprocess.run([sys.executable, "-I", "-S", "install.py"], cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert contents(tmp_path) == before


def test_imports_only_the_standard_library() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in plain | froms} <= sys.stdlib_module_names


def test_help_names_the_commands() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "demo" in done.stdout and "test" in done.stdout


def test_unknown_command_is_refused(install: ModuleType) -> None:
    with pytest.raises(SystemExit) as stop:
        install.main(["dmo"])
    assert stop.value.code == 2


@pytest.mark.parametrize("group", ["standalone", "dev"])
def test_pins_are_what_toml_says(install: ModuleType, group: str) -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert install.pins(group) == document["project"]["optional-dependencies"][group]


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_each_package_has_one_exact_version_for_each_python(install: ModuleType, version: str) -> None:
    pins = [Requirement(pin) for pin in install.pins("standalone") + install.pins("dev")]
    used = [pin for pin in pins if not pin.marker or pin.marker.evaluate({"python_version": version})]
    names = [pin.name for pin in used]
    assert len(names) == len(set(names))
    assert {pin.name for pin in pins} - set(names) <= {"tomli"}  # a part of Python since 3.11
    assert all(str(pin.specifier).startswith("==") for pin in used)


def test_torch_is_installed_first_and_alone(install: ModuleType) -> None:
    install.prepare(install.pins("standalone"))
    first, second = install.run.seen
    assert first[-1].startswith("torch==") and first[-2].startswith("--")
    assert [word for word in second if "==" in word] == install.pins("standalone")


def test_cpu_build_is_asked_for_only_where_torch_is(install: ModuleType) -> None:
    install.prepare(install.pins("standalone"), cpu=True)
    first, second = install.run.seen
    assert install.CPU_INDEX in first
    assert install.CPU_INDEX not in second


def test_second_start_skips_what_is_there(install: ModuleType) -> None:
    everything = install.pins("standalone") + install.pins("dev")
    install.prepare(everything)
    install.run.seen.clear()
    install.prepare(everything)
    install.prepare(install.pins("standalone"))
    assert install.run.seen == []
    install.prepare([*everything, "another==1.0"])
    assert install.run.seen


def test_venv_is_made_again_when_it_is_broken(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    install.prepare(install.pins("standalone"))
    install.run.seen.clear()
    install.VENV_PYTHON.unlink()
    monkeypatch.setattr(install, "answers", lambda *_: False)
    install.prepare(install.pins("standalone"))
    assert install.run.seen[0][:2] == ["-m", "venv"]


def test_failed_installation_is_not_remembered(install: ModuleType) -> None:
    install.run.codes["gradio"] = 1
    with pytest.raises(SystemExit, match="pip could not install"):
        install.prepare(install.pins("standalone"))
    assert not install.is_installed(install.pins("standalone"))


def test_a_web_uis_versions_are_installed_once(install: ModuleType, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(install, "ROOT", tmp_path)
    pins = tmp_path / "old.txt"
    pins.write_text("gradio==3.41.2\n", encoding="utf-8")
    packages = tmp_path / ".venv-old" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    install.prepare_host(pins)
    made, filled = install.run.seen
    assert made[:2] == ["-m", "venv"] and {"--no-deps", str(packages), str(pins)} <= set(filled)
    assert (packages / "main.pth").read_text(encoding="utf-8").strip() == str(install.site_packages(install.VENV))
    install.prepare_host(pins)
    assert len(install.run.seen) == 2
    pins.write_text("gradio==4.40.0\n", encoding="utf-8")
    install.prepare_host(pins)
    assert len(install.run.seen) == 4


@pytest.mark.parametrize("file", sorted((ROOT / "tests" / "hosts" / "pins").glob("*.txt")), ids=lambda path: path.stem)
def test_web_ui_versions_are_exact_and_without_torch(file: Path) -> None:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    pins = [Requirement(line) for line in lines]
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    assert "gradio" in {pin.name for pin in pins} and "torch" not in {pin.name for pin in pins}


@pytest.mark.parametrize(("options", "expected"), [([], ["tour", "serve"]), (["--tour-only"], ["tour"])])
def test_demo_tours_and_then_serves(install: ModuleType, options: list[str], expected: list[str]) -> None:
    assert install.main(["demo", *options]) == 0
    assert [words[2] for words in install.run.seen if words[:2] == ["-m", "lib_lora"]] == expected


def test_demo_stops_when_the_tour_fails(install: ModuleType) -> None:
    install.run.codes["lib_lora tour"] = 3
    assert install.main(["demo"]) == 3
    assert install.run.seen[-1] == ["-m", "lib_lora", "tour"]


@pytest.mark.parametrize(("failing", "code"), [("nothing", 0), ("ruff check", 1), ("-m mypy", 1), ("-m pytest", 1)])
def test_test_runs_everything_and_passes_the_code_on(install: ModuleType, failing: str, code: int) -> None:
    install.run.codes[failing] = 1
    assert install.main(["test"]) == code
    assert [words[1] for words in install.run.seen[-3:]] == ["ruff", "mypy", "pytest"]


def test_missing_browser_is_said_plainly(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "find_browser", lambda: None)
    monkeypatch.setattr(install, "apt_install", lambda package: False)
    install.main(["test"])
    assert "Missing: Chromium" in capsys.readouterr().out


def test_run_hands_on_the_exit_code_and_the_environment() -> None:
    code = "import install, sys; sys.exit(install.run([sys.executable, '-c', %r], ANSWER='42'))"
    child = "import os, sys; sys.exit(int(os.environ['ANSWER']))"
    assert subprocess.run([sys.executable, "-c", code % child], cwd=ROOT, check=False).returncode == 42


def test_ci_runs_the_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "exec python3 install.py test"
    assert os.access(script, os.X_OK)
