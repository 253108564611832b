"""The tables and lists in a TOML, JSON or YAML file, or the options of a command line, whatever the encoding.

One bad line costs what stands on it.
"""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib_lora.errors import UserError
from lib_lora.training.importers.command import is_command, options_of_script

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

LARGEST = 4 * 2**20  # bytes; the largest real config is a hundredth of it
DEEPEST = 30  # tables in tables; the deepest real config has 5
MOST_BAD_LINES = 50
FIX = "Choose the config file of a trainer"
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
                    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
LINE_NUMBER = re.compile(r"at line (\d+)")
STATEMENT = re.compile(r"\s*([\w.\"'-]+)\s*=")
TABLE = re.compile(r"\s*\[\[?[\w.\"' -]+\]\]?\s*(?:#.*)?$")
PATH_IN_QUOTES = re.compile(r"""(\s*[\w.-]+\s*=\s*)"([^"']*\\[^"']*)"(\s*(?:#.*)?)$""")
QUOTED = r'"(?:[^"\\]|\\.)*"'
REMARK = re.compile(rf"{QUOTED}|//[^\n]*|#[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
BEFORE = re.compile(r"(?:\s|//[^\n]*\n|#[^\n]*\n|/\*.*?\*/)*", re.DOTALL)
COMMA_AT_END = re.compile(rf"{QUOTED}|,(?=\s*[}}\]])", re.DOTALL)
LONG_NUMBER = re.compile(r"(?<=[=\[,:\s])[+-]?\d{400,}(?=[\s,\]}#]|$)")


@dataclass(frozen=True)
class Document:
    """What a file says, and the lines of it that say nothing: (what stands there, why it cannot be read)."""

    content: dict[str, Any]
    bad_lines: tuple[tuple[str, str], ...] = ()


def read_document(path: Path) -> Document:
    """Read a TOML, JSON or YAML file, or a script that starts kohya's trainer.

    Raises:
        UserError: no such file, none of these, too large or too deep; or YAML where nothing can read it.
    """
    return parsed(text_of(path), path)


def parsed(text: str, path: Path) -> Document:
    """The document in ``text``; see :func:`read_document`."""
    try:
        document = _any_of_them(text, path)
    except RecursionError:
        raise UserError("This file is nested too deep for a config", where=path, fix=FIX) from None
    if not isinstance(document.content, dict):
        raise UserError("This file is a list, not the config of a trainer", where=path, fix=FIX)
    if _deeper(document.content, DEEPEST):
        raise UserError("This file is nested too deep for a config", where=path, fix=FIX)
    return document


def text_of(path: Path) -> str:
    """The text of a file in any of the usual encodings; raises as :func:`read_document` does."""
    if not path.is_file():  # a pipe would make us wait
        raise UserError("There is no such config", where=path, fix=FIX)
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UserError("This file is too large for a config", where=path, fix=FIX)
    mark = next((mark for mark in BYTE_ORDER_MARKS if data.startswith(mark)), None)
    names = ["utf-8", "cp1252"] if mark is None else [BYTE_ORDER_MARKS[mark]]
    if mark is None and data[:2].count(0) == 1:  # every second byte of plain letters in UTF-16
        names = ["utf-16-be" if data[0] == 0 else "utf-16-le"]
    for name in names:
        try:
            return data.decode(name)
        except UnicodeDecodeError:
            pass
    raise UserError("This file is neither a TOML, JSON or YAML config nor a training command", where=path, fix=FIX)


def _any_of_them(text: str, path: Path) -> Document:
    yaml = path.suffix.lower() in (".yaml", ".yml")
    content = text.lstrip() if yaml else text[BEFORE.match(text).end() :]  # type: ignore[union-attr]  # it may be empty
    start = content[:1]
    try:
        if start in ("{", "[") and not TABLE.match(content.splitlines()[0]):
            return Document(_json(text))
        if yaml:
            return Document(_yaml(text, path))
        return _command(text) if is_command(text) else _toml(text)
    except ValueError as error:  # of JSON and TOML
        if not yaml and start not in ("{", "[") and re.match(r"(?:---|\s*#|\w+:)", text) and _is_yaml(text):
            return Document(_yaml(text, path))
        what = f"This is neither a TOML, JSON or YAML config nor a training command ({_first_line(error)})"
        raise UserError(what, where=path, fix=FIX) from error


def _command(text: str) -> Document:
    try:
        return Document(tomllib.loads(text))  # which speaks of a command in one of its texts
    except tomllib.TOMLDecodeError:
        return Document(options_of_script(text))


def _json(text: str) -> Any:
    """JSON; with remarks and commas behind the last entry, as hand-edited files have them, if it is none without."""
    try:
        return _strict_json(text)
    except json.JSONDecodeError as error:
        plain = COMMA_AT_END.sub(_kept, REMARK.sub(_kept, text))
        if plain == text:
            raise
        try:
            return _strict_json(plain)
        except json.JSONDecodeError:
            raise error from None  # whose line is that of the file


def _strict_json(text: str) -> Any:
    return json.loads(text, parse_int=_whole, parse_constant=str, strict=False)


def _kept(match: re.Match[str]) -> str:
    """A text in quotes as it stands; nothing for all else."""
    return match[0] if match[0].startswith('"') else ""


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) < 400 else digits


def _toml(text: str) -> Document:
    """TOML; a statement that breaks its rules is left out, a Windows path in double quotes is taken as it stands."""
    bad: list[tuple[str, str]] = []
    lines = text.splitlines()
    while True:
        try:
            return Document(tomllib.loads("\n".join(lines)), tuple(bad))
        except tomllib.TOMLDecodeError as error:
            place = LINE_NUMBER.search(str(error))
            if place is None and "end of document" not in str(error):
                raise
            if len(bad) >= MOST_BAD_LINES or not _mended(lines, int(place[1]) - 1 if place else len(lines) - 1, bad):
                raise
        except ValueError:  # int() refuses numbers of thousands of digits
            quoted = [LONG_NUMBER.sub(lambda match: f'"{match[0]}"', line) for line in lines]
            if quoted == lines:
                raise
            lines = quoted


def _mended(lines: list[str], number: int, bad: list[tuple[str, str]]) -> bool:
    """Whether the statement at line ``number`` could be mended or taken out of ``lines``."""
    number = min(number, len(lines) - 1)
    if number >= 0 and (path := PATH_IN_QUOTES.fullmatch(lines[number])):
        lines[number] = f"{path[1]}'{path[2]}'{path[3]}"
        return True
    first = number
    while first >= 0 and not STATEMENT.match(lines[first]):
        if TABLE.match(lines[first]):
            return False
        first -= 1
    if first < 0:
        return False
    after = first + 1
    while after < len(lines) and not (STATEMENT.match(lines[after]) or TABLE.match(lines[after])):
        after += 1
    name, _, value = lines[first].partition("=")
    bad.append((name.strip().strip("\"'"), value.strip()))
    lines[first:after] = [""] * (after - first)
    return True


def _yaml(text: str, path: Path) -> Any:
    safe_load, error_of_yaml = _yaml_reader(path)
    try:
        return safe_load(text)
    except (error_of_yaml, ValueError) as error:  # ValueError: a date that is none
        what = f"This is neither a TOML, JSON or YAML config nor a training command ({_first_line(error)})"
        raise UserError(what, where=path, fix=FIX) from error


def _yaml_reader(path: Path) -> tuple[Callable[[str], Any], type[Exception]]:
    try:
        import yaml  # type: ignore[import-untyped]  # web UIs bring it; nothing of ours needs it otherwise
    except ImportError as error:
        fix = "Install it with pip install pyyaml, or convert the file to JSON"
        raise UserError("YAML files need the package PyYAML, which is not installed", where=path, fix=fix) from error

    class Plain(yaml.SafeLoader):  # type: ignore[misc]  # it has no types
        """Without aliases, which can make a small file huge, and without long numbers, which Python refuses."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases are not read")
            return super().compose_node(parent, index)

    def whole_or_text(loader: Any, node: Any) -> Any:
        return loader.construct_yaml_int(node) if len(node.value) < 400 else node.value

    Plain.add_constructor("tag:yaml.org,2002:int", whole_or_text)
    return lambda text: yaml.load(text, Plain), yaml.YAMLError


def _is_yaml(text: str) -> bool:
    """Whether the first line that is no comment has the look of YAML."""
    first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    return first.strip() == "---" or re.match(r"[\w\"'-]+:(?:\s|$)", first) is not None


def _deeper(value: Any, levels: int) -> bool:
    if levels == 0:
        return True
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_deeper(part, levels - 1) for part in parts if isinstance(part, (dict, list)))


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
