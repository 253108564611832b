"""What every panel of the tab is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lib_lora.ui.dataset.session import Session
from lib_lora.ui.dataset.views import Album

Verb = Callable[[str], Any]  # what a click on data-lw-do="verb:value" does, given the value
View = tuple[Any, Callable[[], Any]]  # a component, and what it shows now


if TYPE_CHECKING:
    from lib_lora.ui.dataset.pages import Connector, Pages


class Panel(ABC):
    """A tool of the tray below the gallery."""

    name = ""  # of its sub-tab
    key = ""  # what links to it say
    follows = False  # whether it shows what is marked or looked at, not only the set

    def __init__(self, desk: Session | Pages, album: Album):
        self._desk, self.album = desk, album

    @property
    def session(self) -> Session:
        """That of the page whose event is handled."""
        return self._desk.here()

    @abstractmethod
    def build(self) -> None:
        """Create the components."""

    @abstractmethod
    def connect(self, on: Connector) -> None:
        """Connect them."""

    def views(self) -> list[View]:
        """What is shown anew after every action."""
        return []

    def verbs(self) -> dict[str, Verb]:
        """What clicks inside its HTML do."""
        return {}
