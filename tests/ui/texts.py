"""All texts that a person can meet on the page: of its fields and tables as built, and of messages in the source."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import gradio as gr

ROOT = Path(__file__).parents[2]
SHOWN = ("label", "info", "placeholder")
TOLD = {"UserError", "message", "hint", "error_message", "Progress", "note", "Line"}  # calls whose texts are shown
ATTRIBUTES = ("title", "aria-label", "alt", "placeholder")  # that lora_workbench_words.js translates
INSIDE = re.compile(r"lw[-_]|data-|[=;]\S|\\|^\W*$|^[a-z_]+$|[{}]\W*[{}]\W*[{}]")
WORD = re.compile("[A-Za-z]{2}")


class _Texts(HTMLParser):
    """Collects texts between tags, and the attributes that a person reads or hears."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("style", "script", "code", "pre")
        self.found += [value for name, value in attrs if name in ATTRIBUTES and value]

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "script", "code", "pre")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.found.append(data)


def page_texts(page: gr.Blocks) -> set[str]:
    """Of a page as it is built: labels, explanations, buttons, choices, texts between tags."""
    return set(_clean(_of_components(page)))


def _of_components(page: gr.Blocks) -> Iterator[str]:
    for component in page.config["components"]:
        props, kind = component["props"], component["type"]
        if "lw-hidden" in (props.get("elem_classes") or ()):
            continue
        yield from (str(props[name]) for name in SHOWN if props.get(name))
        if kind == "button":
            yield str(props.get("value") or "")
        if kind in ("html", "markdown"):
            yield from between_tags(str(props.get("value") or ""))
        for choice in props.get("choices") or ():
            yield str(choice[0] if isinstance(choice, (list, tuple)) else choice)


def between_tags(html: str) -> list[str]:
    parser = _Texts()
    parser.feed(html)
    return parser.found


def source_texts() -> set[str]:
    """Of the source: what messages and errors say, with ``{}`` for what is filled in, and all texts of ``ui/``."""
    return set(_clean(text for path in sorted((ROOT / "lib_lora").rglob("*.py")) for text in _of_source(path)))


def _of_source(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in (node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.FunctionDef))):
        assigned = _assigned(function)
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if ast.unparse(call.func).split(".")[-1] in TOLD:
                shown = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "fix")]
                named = [value for node in shown if isinstance(node, ast.Name) for value in assigned[node.id]]
                said = (text for node in (*shown, *named) for text in spoken(node))
                yield from (text for text in said if not text.startswith("<"))
    if "ui" in path.parts:
        notes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if id(node) in notes or id(node) in parts:
                continue
            for text in spoken(node):
                yield from between_tags(text) if re.search("<[a-z/]", text) else [text] if _reads_as_text(text) else []


def _assigned(function: ast.AST) -> dict[str, list[ast.expr]]:
    """What a message's name stands for, as in ``what = "…"`` before it is raised."""
    found: dict[str, list[ast.expr]] = defaultdict(list)
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = list(zip(target.elts, node.value.elts, strict=True))
                for name, value in pairs:
                    if isinstance(name, ast.Name):
                        found[name.id].append(value)
    return found


def spoken(node: ast.AST) -> Iterator[str]:
    """The text of a string in the source; of both ends of a condition."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from spoken(node.body)
        yield from spoken(node.orelse)


def _reads_as_text(text: str) -> bool:
    return bool(re.search("[A-Za-z]{2,} |[A-Z][a-z]+", text)) and not INSIDE.search(text)


def _clean(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        plain = " ".join(text.split())
        if WORD.search(plain.replace("{}", "")):
            yield plain
