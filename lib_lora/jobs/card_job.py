"""*Test this card*: ``bench card`` in a process of its own, while the web UI's model leaves the card to it."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from typing_extensions import override

from lib_lora.errors import Cancelled, UserError
from lib_lora.jobs.job import Progress
from lib_lora.jobs.queue import JobQueue
from lib_lora.jobs.tool_jobs import ToolJob
from lib_lora.jobs.views import CardView, JobView
from lib_lora.models.base import Host
from lib_lora.models.memory import first_card
from lib_lora.small_files import mapping, set_aside, write_json

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "lib_lora", "bench", "card")
SECONDS = 540  # that it takes at most, which is what the bar shows
LOOK = 0.2  # seconds between two looks at whether it was cancelled
NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # on Windows a console would open


def why_not() -> UserError | None:
    """Why this card cannot be tested; None where it can."""
    if first_card() is None:
        what, fix = "torch finds no graphics card", "Install the torch that was built for your card"
    elif not (ROOT / "bench" / "card").is_dir():
        what, fix = "The measurements are not installed", "Install the extension by git, or unpack the whole archive"
    elif importlib.util.find_spec("diffusers") is None:
        what = "It needs the package diffusers, which this web UI does not have"
        fix = "Run python install.py and then .venv/bin/python -m lib_lora bench card in the extension's folder"
    else:
        return None
    return UserError(what, where="Test this card", fix=fix)


class CardJob(ToolJob):
    """Keeps the GPU to itself until it has ended or is cancelled; pictures wait meanwhile.

    Args:
        command: prints rows of a table and, last, one line of JSON.
    """

    kind = "card"

    def __init__(self, jobs: JobQueue, command: Sequence[str] = COMMAND):
        super().__init__(jobs, "Test of this card")
        self.command = command
        self.lines: list[str] = []

    @override
    def view(self) -> JobView:
        return CardView(**self.common(), lines=tuple(self.lines), found=self.result)

    @override
    def work(self, host: Host) -> Generator[Progress, None, dict[str, Any]]:
        yield Progress(0, SECONDS, "making room on the card")
        with host.card_lent():
            found = self._measured()
        keep_found(host.paths.places.card, self.lines, found)
        return found

    def _measured(self) -> dict[str, Any]:
        with subprocess.Popen(
            self.command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="replace", env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            creationflags=NO_WINDOW,
        ) as process:  # fmt: skip
            try:
                last = self._followed(process)
            finally:
                process.kill()
        if process.returncode:
            what = f"The test ended early: {last or 'it said nothing'}"
            raise UserError(what, where="bench card", fix="The log of the web UI may say more")
        try:
            return mapping(json.loads(last))
        except ValueError as error:
            what = f"The test said something else than what it found: {last or 'nothing'}"
            raise UserError(what, where="bench card", fix="Update the extension, and test again") from error

    def _followed(self, process: subprocess.Popen[str]) -> str:
        """Its last line; the others are the table."""
        said: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_read, args=(process, said), name="lora-workbench-card", daemon=True).start()
        last = ""
        while True:
            if self.cancelled():
                raise Cancelled
            with suppress(queue.Empty):
                line = said.get(timeout=LOOK)
                if line is None:
                    process.wait()
                    return last
                self.lines += [last] if last else []
                last = line
            self.advance(min(int(self.clock.seconds), SECONDS - 1), SECONDS, last[:120])


def keep_found(path: Path, lines: Sequence[str], found: dict[str, Any]) -> None:
    """Write what a test found; what else stands there gets another name."""
    set_aside(path, mapping)
    write_json(path, {"lines": list(lines), "found": found})


def _read(process: subprocess.Popen[str], said: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    with suppress(ValueError):  # it was closed: the job was cancelled
        for line in process.stdout:
            if line.strip():
                said.put(line.rstrip())
    said.put(None)
