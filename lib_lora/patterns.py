"""Regular expressions of users, run where they can be stopped.

`re` holds Python's lock while it searches, so one slow pattern, such as ``(\\w+\\s?)+$``, would freeze the web UI. A
small process does it instead, with a limit of time; it imports nothing but `re` and starts in a few hundredths of a
second.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from lib_lora.errors import UserError

SECONDS = 3.0  # for all texts together
LONGEST = 1000  # letters of a pattern
_WORK = """
import json, re, sys
work = json.loads(sys.stdin.buffer.read())
pattern = re.compile(work["pattern"], work["flags"])
if work["replacement"] is None:
    found = [pattern.search(text) is not None for text in work["texts"]]
else:
    found = [pattern.sub(work["replacement"], text) for text in work["texts"]]
sys.stdout.write(json.dumps(found))
"""


def check(pattern: str, replacement: str | None = None, where: str = "") -> None:
    """Raise `UserError` unless the pattern, and the groups that the replacement names, are valid.

    Args:
        where: for the message; by default the pattern itself.
    """
    if len(pattern) > LONGEST:
        raise UserError(f"The search pattern has more than {LONGEST:,} letters", where=where, fix="Shorten it")
    try:
        re.compile(pattern)
        if replacement is not None:
            re.compile(f"(?:{pattern})|").sub(replacement, "")  # the empty match shows whether the groups exist
    except (re.error, IndexError, RecursionError, OverflowError) as error:
        raise UserError(
            f"The search pattern is not valid ({error})", where=where or pattern, fix="Correct it"
        ) from error


def matching(pattern: str, texts: Sequence[str], *, ignore_case: bool = False, where: str = "") -> list[bool]:
    """Whether the pattern is found anywhere in each text.

    Raises:
        UserError: it is not valid, or takes longer than 3 s.
    """
    check(pattern, where=where)
    return _run(pattern, None, texts, ignore_case, where)


def replaced(
    pattern: str, replacement: str, texts: Sequence[str], *, ignore_case: bool = False, where: str = ""
) -> list[str]:
    """The texts with every match replaced; ``\\\\1`` and ``\\\\g<name>`` stand for groups.

    Raises:
        UserError: see `matching`.
    """
    check(pattern, replacement, where)
    return _run(pattern, replacement, texts, ignore_case, where)


def _run(pattern: str, replacement: str | None, texts: Sequence[str], ignore_case: bool, where: str) -> list[Any]:
    if not texts:
        return []
    if re.escape(pattern) == pattern and not ignore_case and replacement is None:
        return [pattern in text for text in texts]  # letters and nothing else
    flags = int(re.IGNORECASE) if ignore_case else 0
    work = {"pattern": pattern, "replacement": replacement, "texts": list(texts), "flags": flags}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _WORK],
            input=json.dumps(work).encode(),
            capture_output=True,
            timeout=SECONDS,
            check=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except subprocess.TimeoutExpired:
        what = f"The search pattern takes longer than {SECONDS:g} seconds"
        fix = "Make it simpler; a repeat within a repeat, such as (a+)+, is what makes one slow"
        raise UserError(what, where=where or pattern, fix=fix) from None
    except (OSError, subprocess.CalledProcessError) as error:
        what = f"The search pattern could not be tried ({error})"
        raise UserError(what, where=where or pattern, fix="Search for plain words") from error
    found: list[Any] = json.loads(done.stdout)
    return found
