"""Beside a field that needs an optional package: that it does, and a button that installs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from lib_lora.access import admit_install, changes, looks
from lib_lora.packages import Package, install
from lib_lora.ui import html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.compat import listen


class PackageOffer:
    """In sight only while what is chosen needs a package that is missing.

    Args:
        what: that needs it, "This optimizer".
        needed: the package that the values of some fields need; None where they need none.
        elem_id: of the line; the button's ends with ``_install``.
    """

    def __init__(self, what: str, needed: Callable[..., Package | None], elem_id: str):
        self._what = what
        self._needed = needed
        self._elem_id = elem_id

    def build(self, *values: Any) -> None:
        """Place the line for the fields' first ``values``."""
        said, button = self.view(*values)
        with gr.Row(elem_classes=["lw-actions", "lw-small"]):
            self.note = panel(self._elem_id, said)
            self.button = gr.Button(
                button["value"], visible=button["visible"], size="sm", elem_id=f"{self._elem_id}_install"
            )

    def connect(
        self, fields: Sequence[Any], listen: Callable[..., Any] = listen, act: Callable[..., Any] = act
    ) -> None:
        """Follow ``fields``, whose values ``needed`` takes; ``listen`` and ``act`` connect them."""
        for field in fields:
            listen(field.change, self.show, list(fields), [self.note, self.button])
        busy = "Installing it; a large package takes minutes …"
        act(self.button.click, self.install, list(fields), self.note, [self.button], busy=busy)

    def view(self, *values: Any) -> tuple[str, dict[str, Any]]:
        """The line, and the button's properties."""
        package = self._needed(*values)
        if package is None or not package.missing:
            return "", {"value": "Install", "visible": False}
        text = f"{self._what} needs the package {package.name}, which is not installed."
        return html.message(text, html.WARNING), {"value": f"Install {package.pin.replace('==', ' ')}", "visible": True}

    @looks
    def show(self, *values: Any) -> list[Any]:
        """What :meth:`view` says, as updates."""
        said, button = self.view(*values)
        return [said, gr.update(**button)]

    @changes
    def install(self, *values: Any) -> list[Any]:
        """Install what the present values need.

        Raises:
            UserError: from here that is not allowed, or it did not work.
        """
        admit_install()
        package = self._needed(*values)
        if package is None or not package.missing:
            return ["", gr.update(visible=False)]
        return [html.message(install(package), html.GOOD), gr.update(visible=False)]
