"""The import arrows of docs/architecture.md, and the few limits that keep files readable."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lib_lora"
SOURCES = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py"})
OUTSIDE = [*sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "scripts").glob("*.py")), ROOT / "install.py"]

# A part imports from its own row and from the rows before it.
ROWS = (
    # one a line, so that two hands can add to it
    {
        "access",
        "bounds",
        "errors",
        "file_sets",
        "files",
        "names",
        "ownership",
        "packages",
        "part_files",
        "patterns",
        "places",
        "randomness",
        "report",
        "small_files",
        "start_up",
    },
    {"models"},
    {"adapters"},
    {"lora_files", "lora_index"},
    {"tools", "training", "dataset", "hosts"},
    {"jobs", "workbench", "demo"},
    {"ui", "api", "cli", "cli_made", "cli_revisit", "cli_train", "__main__"},
)

WEB_UI = {"modules", "modules_forge", "backend", "ldm_patched"}
MODEL_LIBRARIES = {"diffusers", "transformers"}

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 90


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=(3, 10))


def imports(path: Path) -> Iterator[str]:
    """Dotted names of all that a file of the package imports, also inside functions; relative ones resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def part_of(path: Path) -> str:
    """``lib_lora/tools/grid.py`` -> ``tools``; ``lib_lora/cli.py`` -> ``cli``."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def row_of(part: str) -> int:
    rows = [number for number, row in enumerate(ROWS) if part in row]
    assert rows, f"lib_lora/{part} has no place in docs/architecture.md"
    return rows[0]


def used_by(path: Path) -> set[str]:
    """The parts that a file imports from."""
    return {imported.split(".")[1] for imported in imports(path) if imported.startswith("lib_lora.")} - {"__version__"}


def test_arrows_point_down() -> None:
    for path in SOURCES:
        upward = {part for part in used_by(path) if row_of(part) > row_of(part_of(path))}
        assert not upward, f"{name(path)} may not import {upward}"


def test_no_two_parts_import_each_other() -> None:
    arrows = {(part_of(path), used) for path in SOURCES for used in used_by(path) if used != part_of(path)}
    assert not {tuple(sorted(arrow)) for arrow in arrows if arrow[::-1] in arrows}


def test_no_two_files_import_each_other() -> None:
    """By a detour neither, nor for types or inside a function alone: of any two files, one can be read first."""
    modules = {module_name(path): path for path in SOURCES}
    arrows = {module: known(imports(path), modules) - {module} for module, path in modules.items()}
    while free := {module for module, used in arrows.items() if not used}:
        arrows = {module: used - free for module, used in arrows.items() if module not in free}
    assert not arrows, "a circle runs through some of these"


def test_what_is_imported_from_us_exists() -> None:
    """Also what only one function imports, when it is called."""
    modules = {"lib_lora", *map(module_name, SOURCES)}
    for path in SOURCES:
        ours = {imported for imported in imports(path) if imported.startswith("lib_lora.")}
        missing = {one for one in ours if not modules & {one, one.rpartition(".")[0]}}
        assert not missing, f"{name(path)}: {missing}"


def module_name(path: Path) -> str:
    """``lib_lora/tools/__init__.py`` -> ``lib_lora.tools``."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def known(names: Iterator[str], modules: Container[str]) -> set[str]:
    """The files that dotted names are found in: ``lib_lora.tools.grid.Cell`` in ``lib_lora.tools.grid``."""
    prefixes = ([name.rsplit(".", cut)[0] for cut in range(name.count(".") + 1)] for name in names)
    return {found for parts in prefixes if (found := next((part for part in parts if part in modules), ""))}


def test_outside_libraries_stay_in_their_place() -> None:
    for path in SOURCES:
        libraries = {imported.split(".")[0] for imported in imports(path)}
        part = part_of(path)
        if part != "hosts":
            assert not libraries & WEB_UI, "only hosts/ knows a web UI"
        if part != "ui":
            assert "gradio" not in libraries, "only ui/ knows gradio"
        if part != "demo" and PACKAGE / "hosts" / "standalone" not in path.parents:
            assert not libraries & MODEL_LIBRARIES, "only hosts/standalone and demo/ know diffusers and transformers"


def test_files_are_readable() -> None:
    for path in SOURCES + OUTSIDE:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines < MAX_FILE_LINES, f"{lines} lines"
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"bare except in line {node.lineno}"
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = node.end_lineno - node.lineno + 1
                assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


def test_the_rules_see_what_they_forbid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    source = tmp_path / "lib_lora" / "adapters" / "bad.py"
    source.parent.mkdir(parents=True)
    code = "from ..tools import grid\nfrom . import delta\ndef f():\n    import gradio as gr\n"
    source.write_text(code, encoding="utf-8")
    assert set(imports(source)) == {"lib_lora.tools.grid", "lib_lora.adapters.delta", "gradio"}
