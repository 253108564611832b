"""What a folder of pictures itself proposes for a training: a trigger, a name, and prompts to draw meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lib_lora.dataset.caption import split_tags
from lib_lora.dataset.scan import CONCEPT_NAME
from lib_lora.dataset.sidecars import CAPTION_EXTENSIONS
from lib_lora.dataset.text_file import lines_of, read_text_file
from lib_lora.errors import UserError
from lib_lora.names import FORBIDDEN_IN_TEXT

READ = 200  # captions that are looked at
PROMPTS = 2  # that are proposed
LONGEST = 300  # characters of a prompt
# what boorus put first in every caption, and what is nobody's name
COMMON = re.compile(r"\d+\+?(girl|boy|other)s?|solo|no humans|multiple .*|masterpiece|best quality", re.IGNORECASE)
UNFIT = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Proposal:
    """``name`` is fit for a file; ``trigger`` is empty for what looks like a style; ``prompts`` has one a line."""

    name: str
    trigger: str
    prompts: str


def propose(folder: Path, trigger: str = "", literal: Callable[[str], str] = str) -> Proposal:
    """What ``folder`` proposes; empty texts where there is no such folder.

    Args:
        trigger: where it is known already.
        literal: makes a prompt of the words of captions, see :meth:`lib_lora.models.base.Host.literal`.
    """
    if not folder.is_dir():
        return Proposal("", trigger, "")
    captions = list(islice(_captions(folder), READ))
    trigger = trigger or _named(folder) or _first_tag(captions)
    name = UNFIT.sub("-", trigger or folder.name).strip("-.")
    return Proposal(name, trigger, "\n".join(literal(prompt) for prompt in _prompts(captions, trigger)))


def _captions(folder: Path) -> Iterator[str]:
    """The first lines of the caption files, by name."""
    files = (path for path in folder.rglob("*") if path.suffix.lower() in CAPTION_EXTENSIONS)
    for path in sorted(islice(files, 20 * READ)):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        try:
            lines = lines_of(read_text_file(path).text)
        except (UserError, OSError):
            continue  # Dataset and Check name it
        if lines:
            yield lines[0]


def _named(folder: Path) -> str:
    """The name in the one ``N_name`` folder that it is or has, without the class behind it."""
    try:
        folders = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    except OSError:
        return ""
    names = {found[2].strip() for path in folders if (found := CONCEPT_NAME.fullmatch(path.name))}
    return next(iter(names)).split(" ")[0] if len(names) == 1 else ""


def _first_tag(captions: Sequence[str]) -> str:
    """The tag that all captions begin with, if it is no common one."""
    firsts = {tags[0] if (tags := split_tags(caption)) else "" for caption in captions}
    first = next(iter(firsts), "")
    return first if len(captions) > 1 and len(firsts) == 1 and len(first) < 40 and not COMMON.fullmatch(first) else ""


def _prompts(captions: Sequence[str], trigger: str) -> list[str]:
    """The trigger with captions from different places of the set."""
    places = [len(captions) * (2 * number + 1) // (2 * PROMPTS) for number in range(PROMPTS)] if captions else []
    found = [prompt_line(captions[place], trigger) for place in places]
    return list(dict.fromkeys(filter(None, found))) or ([trigger] if trigger else [])


def prompt_line(caption: str, trigger: str = "") -> str:
    """``caption`` with the trigger in front, as one line of sample prompts: no option of theirs in it."""
    line = " ".join(FORBIDDEN_IN_TEXT.sub("", caption).replace(" --", " ").split())[:LONGEST].strip(" ,#")
    if not trigger or trigger in split_tags(line):
        return line
    return ", ".join(filter(None, [trigger, line]))
