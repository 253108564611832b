"""The sets that pages have open: one `DatasetEditor` for all pages of the same folders."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

from lib_lora.dataset.editor import DatasetEditor

_open: WeakValueDictionary[tuple[Path, ...], DatasetEditor] = WeakValueDictionary()
_opening = Lock()


def shared_editor(folders: list[Path], cache: Path) -> DatasetEditor:
    """The set of these folders: the one that another page has open, looked at again, or a new one."""
    with _opening:
        key = (cache, *(Path(folder).absolute() for folder in folders))
        editor = _open.get(key)
        if editor is None:
            editor = _open[key] = DatasetEditor(folders, cache)
        else:
            editor.reopen()
        return editor
