"""A command line of kohya's or musubi-tuner's trainer: typed, pasted, or in a script for any of the usual shells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

NAMES = (  # whoever trains a LoRA gives one of these
    "network_module", "network_dim", "network_alpha", "train_data_dir", "dataset_config", "config_file",
    "pretrained_model_name_or_path",
)  # fmt: skip
COMMAND = re.compile(rf"(?<![\w-])--(?:{'|'.join(NAMES)})(?![\w-])")
REMARK = re.compile(r"\s*(?:#|::|//|@?rem\b)", re.IGNORECASE)
GOES_ON = re.compile(r"[ \t]*[\\^`][ \t]*$")
OPTION = re.compile(r"(?<![\w-])--[A-Za-z]")
ASSIGNED = re.compile(
    r"""\s*(?:export\s+|set\s+|local\s+)?(?P<open>"?)\$?(?P<name>(?:env:)?\w+)\s*=\s*"""
    r"""(?P<value>"[^"]*"|'[^']*'|[^#\n]*?)\s*(?:;|\s\#.*|(?P=open))?$""",
    re.IGNORECASE,
)
VARIABLE = re.compile(r"\$\{(\w+)\}|\$((?:env:)?\w+)|%(\w+)%|!(\w+)!", re.IGNORECASE)
WORD = re.compile(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+""")
QUOTED = re.compile(r"""(["'])(.*?)\1""")
OF_A_SCRIPT = re.compile(r"\$\{?\w+(?:\[[@*]\])?\}?|\$@|.*\.py", re.IGNORECASE)  # what else stands in a command
EMPTY: Mapping[str, str] = MappingProxyType({})
TYPED_QUOTES = str.maketrans("“”‘’", "\"\"''")


def is_command(text: str) -> bool:
    """Whether ``text`` is no config but holds a command line, outside its remarks."""
    return any(COMMAND.search(line) and not REMARK.match(line) for line in text.splitlines())


def options_of_script(text: str) -> dict[str, Any]:
    """The options of the longest command in ``text``, with the script's own variables in their places.

    What a script adds under a condition is not looked at.

    Raises:
        ValueError: a quote that is not closed.
    """
    variables: dict[str, str] = {}
    commands: list[str] = []
    for line in _whole_lines(text):
        if found := ASSIGNED.match(line):
            value = found["value"].strip()
            value = value[1:-1] if value[:1] in ("'", '"') and value[-1:] == value[:1] else value
            if not value.startswith(("(", "[")):  # a list
                variables[found["name"].lower()] = _filled(value, variables)
        elif OPTION.search(line):
            commands.append(_filled(line, {name: value for name, value in variables.items() if OPTION.search(value)}))
    commands.sort(key=lambda line: len(OPTION.findall(line)), reverse=True)
    whole = (line for line in commands if not _is_cut(line))
    return options_of(next(whole, commands[0] if commands else ""), variables)


def options_of(line: str, variables: Mapping[str, str] = EMPTY) -> dict[str, Any]:
    """Options of one command line: ``--name value``, ``--name=value``, ``--name`` (True), several values as a list.

    Args:
        variables: of the script, by their names in lower case.

    Raises:
        ValueError: a quote that is not closed.
    """
    if _is_cut(line):
        raise ValueError("a quote is not closed")
    found: dict[str, Any] = {}
    name = ""  # of the option that the next words belong to
    for word in WORD.findall(_plain(line)):
        word = _filled(QUOTED.sub(r"\2", word), variables)
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            found[name] = value if equals else True
            name = "" if equals else name
        elif name and not OF_A_SCRIPT.fullmatch(word):
            before = found[name]
            found[name] = word if before is True else [*(before if isinstance(before, list) else [before]), word]
    return found


def _plain(line: str) -> str:
    return line.translate(TYPED_QUOTES).replace('\\"', '"')


def _is_cut(line: str) -> bool:
    return bool(WORD.sub("", _plain(line)).strip())


def _whole_lines(text: str) -> list[str]:
    """Lines without remarks; one that goes on, or whose next begins with an option, is one with it."""
    lines: list[str] = []
    goes_on = False
    for line in text.splitlines():
        if REMARK.match(line):
            continue
        rest = GOES_ON.sub("", line)
        if lines and (goes_on or line.lstrip().startswith("--")):
            lines[-1] += " " + rest.strip()
        else:
            lines.append(rest)
        goes_on = rest != line
    return lines


def _filled(line: str, variables: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = next(group for group in match.groups() if group)
        return variables.get(name.lower(), match[0])

    return VARIABLE.sub(value, line)
