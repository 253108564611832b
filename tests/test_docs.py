"""What the documents point to exists: files, pictures and commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [*(ROOT / f"{title}.md" for title in ("README", "CONTRIBUTING", "CHANGELOG")), *PAGES]

LINK = re.compile(r"\]\(([^)\s#]+)")
ELSEWHERE = ("http://", "https://", "mailto:")
COMMAND = re.compile(r"(?:(install\.py)|python3? -m (lib_lora)) ([a-z]+)((?: --?[a-z-]+)*)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def commands() -> list[tuple[str, str, str]]:
    """(program, command, options) of every call that the documents name."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    return sorted({(script or module, command, options) for script, module, command, options in COMMAND.findall(text)})


def test_links_and_pictures_exist() -> None:
    for document in DOCUMENTS:
        links = LINK.findall(document.read_text(encoding="utf-8"))
        targets = [link for link in links if not link.startswith(ELSEWHERE)]
        missing = [target for target in targets if not (document.parent / target).exists()]
        assert not missing, name(document)


FILES = re.compile(r"`((?:lib_lora|tests|docs|scripts)/[\w/.-]+)`")
SHORT = re.compile(r"`((?:adapters|api|dataset|hosts|jobs|models|tools|training|ui)/[\w/]+\.py)`")


def test_files_that_the_recipes_and_the_journeys_name_exist() -> None:
    recipes = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = [path for path in FILES.findall(recipes) if "NAME" not in path]
    journeys = SHORT.findall((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert len(named) > 15 and len(journeys) > 20
    assert not [path for path in (*named, *(f"lib_lora/{path}" for path in journeys)) if not (ROOT / path).exists()]


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = set(LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")} - {"index.md"}
    assert pages <= listed


# what is in italics is read on the page, or is a name that others have given
LABELLED = [*sorted((ROOT / "docs").glob("walk-*.md")), *(ROOT / "docs" / f"{tab}.md" for tab in
            ("dataset", "train", "epoch-grid", "blocks", "merge", "publish", "runs", "tour"))]  # fmt: skip
ITALIC = re.compile(r"(?<![\w*])\*([A-Z][^*]{1,60}?)\*(?![\w*])")
OTHERS = {"Diffusion in Low Bits", "GPU Weights", "FP8 weight", "DPM adaptive", "Effective Block Analyzer", "MLP"}


def bare(label: str) -> str:
    """Without arrows, dots, steps and units."""
    return re.sub(r"\(.*?\)|[^\w' -]|^\d+ ", "", label).strip().lower()


def test_labels_that_the_walks_and_the_pages_of_the_tabs_name_are_on_the_page() -> None:
    texts = json.loads((ROOT / "localizations" / "zh_CN.json").read_text(encoding="utf-8"))  # all, see ui/test_words.py
    known = {re.sub(r"^\d+ +", "", bare(text)) for text in texts}
    missing, found = [], 0
    for document in LABELLED:
        plain = re.sub(r"```.*?```|\*\*.*?\*\*", "", document.read_text(encoding="utf-8"), flags=re.S)
        for label in ITALIC.findall(" ".join(plain.split())):
            steps = label.split("→") if not label.endswith("→") else [label]
            for step in (part.split(":")[0].strip() for part in steps):
                found += 1
                if bare(step) not in known and step not in OTHERS:
                    missing.append(f"{name(document)}: {step}")
    assert found > 150 and not missing, "\n".join(missing)


@pytest.mark.parametrize(("program", "command", "options"), commands(), ids=" ".join)
def test_commands_and_their_options_exist(program: str, command: str, options: str) -> None:
    start = [str(ROOT / program)] if program.endswith(".py") else ["-m", program]
    help_call = [sys.executable, *start, command, "--help"]
    done = subprocess.run(help_call, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert all(option in done.stdout for option in options.split())
