#!/usr/bin/env python3
"""Set up LoRA Workbench. Python's standard library is all this file needs.

    python3 install.py            nothing to do: what a web UI runs at every start
    python3 install.py demo       make .venv, run the tour, then serve the tabs on this machine
    python3 install.py test       install what the tests need and run them all

In a web UI the extension uses the packages that are already there, so without a command nothing is installed.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
HOST_PINS = ROOT / "tests" / "hosts" / "pins"  # a file for each web UI, with the versions that it runs with
STAMP = VENV / "installed.txt"  # the pins that are in .venv, one a line; written when all of them are
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main(argv: list[str]) -> int:
    """Run one command; returns the exit code."""
    if not argv:
        return 0
    options = parser().parse_args(argv)
    if sys.version_info < (3, 10):  # noqa: UP036 — this file is what an older Python is started with
        sys.exit("LoRA Workbench needs Python 3.10 or newer; this is " + sys.version.split()[0])
    return options.run(options)


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--cpu",
        action="store_true",
        help="install PyTorch's CPU build (on Linux the usual one brings 3 GB of NVIDIA libraries)",
    )
    top = argparse.ArgumentParser(
        prog="install.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(metavar="command", required=True)
    demo_command = commands.add_parser("demo", parents=[common], help="make .venv, run the tour, serve the tabs")
    demo_command.add_argument("--tour-only", action="store_true", help="end after the tour")
    demo_command.set_defaults(run=demo)
    commands.add_parser("test", parents=[common], help="run all the tests").set_defaults(run=test)
    return top


def demo(options: argparse.Namespace) -> int:
    """The tour, then the tabs on 127.0.0.1 until they are stopped."""
    prepare(pins("standalone"), cpu=options.cpu)
    code = run([VENV_PYTHON, "-m", "lib_lora", "tour"])
    if code or options.tour_only:
        return code
    return run([VENV_PYTHON, "-m", "lib_lora", "serve"])


def test(options: argparse.Namespace) -> int:
    """Lint and types, then all the tests; pytest's summary is the last line."""
    prepare(pins("standalone") + pins("dev"), pins("bare"), cpu=options.cpu)
    for host in host_pins():
        prepare_host(host)
    if not find_browser() and not apt_install("chromium"):
        say(NO_BROWSER)
    if not shutil.which("npm"):
        apt_install("npm")  # brings axe-core, for one test
    lint = run([VENV_PYTHON, "-m", "ruff", "check", "."])
    types = run([VENV_PYTHON, "-m", "mypy"])
    # one thread for each of the two workers: more would only wait for each other
    options = ["-n", "2", "--dist", "loadfile", "--durations", "30"]
    tests = run([VENV_PYTHON, "-m", "pytest", *options], OMP_NUM_THREADS="1")
    return lint or types or tests


# packages


def pins(group: str) -> list[str]:
    """One list of packages of ``pyproject.toml``.

    Its TOML is also a Python literal; ``tomllib`` would need Python 3.11.
    """
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(rf"^{group} = (\[.*?\]$)", text, re.MULTILINE | re.DOTALL)
    if not found:
        sys.exit(f"pyproject.toml has no list of packages named {group!r}")
    return ast.literal_eval(found[1])


def prepare(requirements: list[str], bare: Sequence[str] = (), *, cpu: bool = False) -> None:
    """Make ``.venv`` hold ``requirements``, and ``bare`` ones without what those need; nothing when it does already."""
    if is_installed([*requirements, *bare]):
        return
    if not answers(VENV_PYTHON, "-m", "pip", "--version"):
        say(f"Making {VENV}")
        make_venv()
    torch = next(pin for pin in requirements if pin.startswith("torch=="))
    index = ["--index-url", CPU_INDEX] if cpu else []
    say(f"Installing {torch}")
    pip_install(torch, *index)  # first and alone: nothing else may choose another build of it
    say(f"Installing {len(requirements) - 1} more packages and what they need")
    pip_install(*requirements)
    if bare:
        pip_install("--no-deps", *bare)
    STAMP.write_text("\n".join([*requirements, *bare]) + "\n", encoding="utf-8")


def host_pins() -> list[Path]:
    """The files of versions of the web UIs; none where Python is newer than they can be."""
    return sorted(HOST_PINS.glob("*.txt")) if sys.version_info < (3, 12) else []


def prepare_host(requirements: Path) -> None:
    """Make ``.venv-NAME`` hold what a web UI has; all that ``requirements`` lacks it sees in ``.venv``."""
    folder = ROOT / f".venv-{requirements.stem}"
    stamp = folder / STAMP.name
    if stamp.exists() and stamp.read_bytes() == requirements.read_bytes():
        return
    say(f"Installing the versions of {requirements.stem}")
    if run([VENV_PYTHON, "-m", "venv", "--clear", "--without-pip", folder]):
        sys.exit(f"Could not make {folder}; see the message above")
    packages = site_packages(folder)
    pip_install("--no-deps", "--target", packages, "--requirement", requirements)
    (packages / "main.pth").write_text(f"{site_packages(VENV)}\n", encoding="utf-8")
    stamp.write_bytes(requirements.read_bytes())


def site_packages(venv: Path) -> Path:
    return next(venv.glob("lib/python*/site-packages"), venv / "Lib" / "site-packages")


def is_installed(requirements: list[str]) -> bool:
    if not (VENV_PYTHON.exists() and STAMP.exists()):
        return False
    return set(requirements) <= set(STAMP.read_text(encoding="utf-8").splitlines())


def make_venv() -> None:
    if not importlib.util.find_spec("ensurepip") and not apt_install("python3-venv"):
        sys.exit("Python lacks its venv module. On Debian or Ubuntu: sudo apt-get install python3-venv")
    if run([sys.executable, "-m", "venv", "--clear", VENV]):
        sys.exit(f"Could not make {VENV}; see the message above")


def pip_install(*arguments: str | Path) -> None:
    if run([VENV_PYTHON, "-m", "pip", "install", "--disable-pip-version-check", *arguments]):
        sys.exit("pip could not install the packages; see its message above. A second start goes on from here")


# the system


NO_BROWSER = """\
Missing: Chromium or Chrome. The browser tests will fail without it. To get it:
    Debian     sudo apt-get install chromium
    Ubuntu     sudo snap install chromium
    macOS      brew install --cask chromium
    Windows    winget install Google.Chrome
"""
BROWSER_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER_PATHS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
)


def find_browser() -> str | None:
    """The Chromium or Chrome of this machine."""
    candidates = [shutil.which(name) for name in BROWSER_NAMES] + list(BROWSER_PATHS)
    return next((path for path in candidates if path and os.path.exists(path)), None)


def apt_install(package: str) -> bool:
    """Install a Debian package where this process may; False where it may not, or it failed."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return False
    say(f"Installing the system package {package}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    if run(["apt-get", "update", "-qq"], **quiet):
        return False
    return run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], **quiet) == 0


def say(text: str) -> None:
    print(text, flush=True)  # before what a child process prints


def answers(*command: str | Path) -> bool:
    """Whether a command exists and ends without an error."""
    try:
        return subprocess.run([str(part) for part in command], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run(command: list[str | Path], **environment: str) -> int:
    """Run a command in the project's folder, its output on this terminal; returns its exit code.

    Ctrl-C reaches the command as well, which then ends in its own time; a termination is handed on.
    """
    environment = {**os.environ, "PYTHONUTF8": "1", **environment}
    with subprocess.Popen([str(part) for part in command], cwd=ROOT, env=environment) as process:
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            while True:
                try:
                    return process.wait()
                except KeyboardInterrupt:
                    continue
        finally:
            signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
