"""What of the user's small files is damaged, named where nobody can overlook it; all else works."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lib_lora.adapters.block_presets import preset_faults
from lib_lora.places import Places
from lib_lora.training.own_presets import OwnPresets
from lib_lora.ui import html
from lib_lora.ui.draft import Draft
from lib_lora.ui.poll import Watched

SHOWN = 5


class Faults:
    """Files of the data folder; those of a run are named with the run."""

    def __init__(self, places: Places):
        sources: Sequence[tuple[Callable[[], list[str]], Sequence[object]]] = (
            (lambda: preset_faults(places.block_presets), [places.block_presets]),
            (OwnPresets(places.presets).faults, [places.presets]),
            (lambda: list(filter(None, [Draft(places.draft).fault()])), [places.draft]),
        )
        self._parts = [Watched(compute, *watched) for compute, watched in sources]

    def now(self) -> list[str]:
        """HTML, empty where nothing is damaged."""
        found = [text for part in self._parts for text in part()]
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        return ["".join(html.message(text, html.WARNING) for text in [*found[:SHOWN], *more])]
