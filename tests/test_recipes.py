"""CONTRIBUTING.md's recipes for a setting, a tab and a host, followed line by line in a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOYS = ROOT / "tests" / "recipes"

# file, a line of it, and what the recipe has one write before that line
EDITS = {
    "lib_lora/training/config_groups/output.py": {
        r"    save_precision: str = ": (
            '    toy_petals: int = setting(3, SAVING, "Toy petals", "How many", low=1, high=9, unit="petals")\n'
        ),
    },
    "lib_lora/ui/app.py": {
        r"from lib_lora\.ui\.train_tab": "from lib_lora.ui.toy_tab import ToyTab\n",
        r"    status, way = StatusStrip\(": "    toy = ToyTab(workbench)\n",
        r' +\("Runs", "runs", runs\),': '                    ("Toy", "toy", toy),\n',
        r"            poller\.connect\(page\)": "            toy.connect(poller)\n",
    },
    "lib_lora/hosts/detect.py": {
        r'    if find_spec\("backend"\)': (
            '    if find_spec("toy_ui"):\n'
            "        from lib_lora.hosts.toy.host import ToyHost\n\n"
            "        return ToyHost()\n"
        ),
    },
}
FILES = {"toy_tab.py": "lib_lora/ui", "toy_host.py": "lib_lora/hosts/toy", "toy_ui.py": "", "check_toys.py": "tests"}
NAMES = {"toy_host.py": "host.py", "check_toys.py": "test_toys.py"}


def followed(place: Path) -> Path:
    """A copy of what the package runs from, with the recipes' changes."""
    without = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for name in ("lib_lora", "javascript"):
        shutil.copytree(ROOT / name, place / name, ignore=without)
    (place / "tests").mkdir()
    for name in ("style.css", "tests/conftest.py"):
        shutil.copyfile(ROOT / name, place / name)
    for name, lines in EDITS.items():
        text = (place / name).read_text(encoding="utf-8")
        for line, before in lines.items():
            text, times = re.subn(f"^(?={line})", before.replace("\\", "\\\\"), text, flags=re.MULTILINE)
            assert times == 1, f"{name}: {line}"
        (place / name).write_text(text, encoding="utf-8")
    (place / "lib_lora/hosts/toy").mkdir()
    for name, folder in FILES.items():
        shutil.copyfile(TOYS / name, place / folder / NAMES.get(name, name))
    return place


def test_a_setting_a_tab_and_a_host_are_there_once_their_recipe_is_followed(tmp_path: Path) -> None:
    place = followed(tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--import-mode=importlib", "-p", "no:cacheprovider", "tests"]
    environment = {**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout + done.stderr


def test_contributing_names_the_files_that_the_recipes_change() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name in EDITS:
        assert name in text or f"{Path(name).parent.as_posix()}/`" in text, name
