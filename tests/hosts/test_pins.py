"""The versions that the web UIs have: the tab clicked through in a browser, the API, the model, access to folders.

``install.py test`` makes an environment for each; this starts the tests that matter in them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOSTS = [path.stem for path in sorted((ROOT / "tests" / "hosts" / "pins").glob("*.txt"))]
NAMES = ("test_tab", "test_model", "test_access", "test_read_only", "in_browser")
USUAL = [f"tests/hosts/a1111/{name}.py" for name in NAMES]
# Neo's gradio is Forge's, where the page was clicked through and all its functions called
TESTS = {"neo": ["tests/hosts/neo", *USUAL[:1], *USUAL[2:3]]}


@pytest.mark.parametrize("host", HOSTS if sys.version_info < (3, 12) else [])
def test_in_the_versions_of(host: str, tmp_path: Path) -> None:
    python = ROOT / f".venv-{host}" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    assert python.exists(), "python3 install.py test makes this environment"
    # packages of years ago warn of each other, which is no error of ours
    options = ("-q", "-p", "no:cacheprovider", "-W", "default", "--basetemp", str(tmp_path / "tests"))
    tests = TESTS.get(host, USUAL)
    done = subprocess.run(
        [python, "-m", "pytest", *options, *tests],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
