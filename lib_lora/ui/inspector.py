"""What is known of LoRA files, read in a thread of its own: a training in the queue does not keep it waiting."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

from torch import Tensor

from lib_lora.adapters.base_weights import CheckpointWeights
from lib_lora.adapters.file import LoraFile, open_lora
from lib_lora.errors import Cancelled, UserError
from lib_lora.tools.inspection import Facts, Strengths, look_at, measure
from lib_lora.workbench import Workbench

REMEMBERED = 64  # files
Key = tuple[Path, int, str]  # file, its date, the checkpoint it is compared with


@dataclass
class Measured:
    """How far one has got with a file: ``found`` or ``error`` at the end."""

    done: int = 0
    total: int = 0
    found: Strengths | None = None
    error: UserError | None = None


class Inspector:
    """Facts at once, figures when they are there. One file is measured at a time; another one takes its turn."""

    def __init__(self, workbench: Workbench):
        self.workbench = workbench
        self._facts: dict[tuple[Path, int], Facts] = {}
        self._measured: OrderedDict[Key, Measured] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, "lw-inspect")
        self._stop = Event()
        self._lock = Lock()

    def facts(self, path: Path) -> Facts:
        """What the header says; errors as :func:`look_at`."""
        card = path.with_suffix(".json")
        key = path, path.stat().st_mtime_ns + (card.stat().st_mtime_ns if card.is_file() else 0)
        if key not in self._facts:
            self._facts[key] = look_at(path)
        return self._facts[key]

    def measured(self, path: Path) -> Measured:
        """The figures of a file, against the loaded checkpoint; begins with them where nobody has yet."""
        info = self.workbench.host.info()
        base = info.path if info is not None else None
        key = path, path.stat().st_mtime_ns, str(base or "")
        with self._lock:
            if key not in self._measured:
                self._stop.set()  # whoever is measured now is not looked at any more
                self._stop = Event()
                self._measured[key] = Measured()
                self._pool.submit(self._measure, key, base, self._stop)
            self._measured.move_to_end(key)
            while len(self._measured) > REMEMBERED:
                self._measured.popitem(last=False)
            return self._measured[key]

    def _measure(self, key: Key, base: Path | None, stop: Event) -> None:
        measured = self._measured[key]

        def progress(done: int, total: int) -> None:
            measured.done, measured.total = done, total
            if stop.is_set():
                raise Cancelled

        try:
            file = open_lora(key[0])
            measured.found = measure(file, _weights(base, file), base.stem if base else "", progress)
        except Cancelled:
            with self._lock:
                self._measured.pop(key, None)
        except UserError as error:
            measured.error = error
        except Exception as error:  # it must not look as if it went on for ever
            measured.error = UserError(f"This could not be measured: {error or type(error).__name__}", where=key[0])


def _weights(base: Path | None, file: LoraFile) -> Mapping[str, Tensor] | None:
    """The weights of the loaded checkpoint, where its file can be read and is of a family that the LoRA may be of."""
    try:
        weights = CheckpointWeights(base) if base is not None else None
    except UserError:
        return None
    return weights if weights is not None and weights.family in (file.families or ()) else None
