"""What every panel of the tab is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from lib_lora.ui.dataset.session import Session
from lib_lora.ui.dataset.views import Album

Verb = Callable[[str], Any]  # what a click on data-lw-do="verb:value" does, given the value
View = tuple[Any, Callable[[], Any]]  # a component, and what it shows now


class On(Protocol):
    """Connects an event as `lib_lora.ui.actions.act` does, and shows the whole tab anew afterwards."""

    def __call__(
        self, trigger: Any, fn: Any, inputs: Sequence[Any], message: Any, outputs: Sequence[Any] = (), busy: str = ""
    ) -> None: ...


class Panel(ABC):
    """A tool of the tray below the gallery."""

    name = ""  # of its sub-tab
    key = ""  # what links to it say

    def __init__(self, session: Session, album: Album):
        self.session, self.album = session, album

    @abstractmethod
    def build(self) -> None:
        """Create the components."""

    @abstractmethod
    def connect(self, on: On) -> None:
        """Connect them."""

    def views(self) -> list[View]:
        """What is shown anew after every action."""
        return []

    def verbs(self) -> dict[str, Verb]:
        """What clicks inside its HTML do."""
        return {}
