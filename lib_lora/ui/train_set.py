"""The open set is the folder of the Train tab, and proposes what else can be known from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib_lora.access import changes, looks, permits
from lib_lora.dataset.proposals import Proposal, propose
from lib_lora.ui.compat import SKIP, listen
from lib_lora.ui.form import PREFIX, SettingsForm
from lib_lora.workbench import Workbench

FOLLOW = ("name", "trigger", "sample_prompts")  # of the folder, as long as nobody has written something else


class SetFields:
    """Fills name, trigger and sample prompts of the form; what a user has written there stays."""

    def __init__(self, workbench: Workbench, form: SettingsForm):
        self.workbench = workbench
        self.form = form
        self._proposed = {""}  # all texts that were put there by proposal
        self.carried: dict[str, Any] = {}  # what a chosen folder brought, for a form of which nothing is kept yet

    @property
    def fields(self) -> list[Any]:
        """The folder, and what follows it."""
        return [self.form.fields[name] for name in ("data_dir", *FOLLOW)]

    def connect(self, typed: Any) -> None:
        """``typed``: the textbox that says which fields a user has changed."""
        listen(typed.change, self.after_typing, [typed, *self.fields], self.fields[1:])

    def after_folder(self, event: Any) -> None:
        """Follow the folder that ``event``, a dependency, has put into the field."""
        self.form.filled(listen(event.then, self.after_choice, self.fields, self.fields[1:]))

    def know(self, folder: str, trigger: str) -> None:
        """A form that was kept from before may show what its folder proposed then."""
        if folder:
            self._note(propose(Path(folder), "", self.workbench.host.literal))
            self._note(propose(Path(folder), trigger, self.workbench.host.literal))

    @changes
    def after_choice(self, folder: str, *now: str) -> list[Any]:
        """Follow a folder that was chosen or opened, and keep it: it is there again after a reload."""
        values = self.follow(folder, *now)
        self._keep({"data_dir": folder, **_changed(values)})
        return values

    def _keep(self, changed: dict[str, Any]) -> None:
        self.carried |= changed
        self.form.put(changed)

    @changes
    def after_typing(self, ids: str, *now: str) -> list[Any]:
        """Follow a folder or trigger that was typed."""
        names = [element.removeprefix(PREFIX) for element in ids.partition("|")[0].split(",")]
        if "data_dir" not in names and "trigger" not in names:
            return [SKIP] * len(FOLLOW)
        values = self.follow(*now, keep=() if "data_dir" in names else ("name", "trigger"))
        self._keep(_changed(values))
        return values

    @looks
    def follow(self, folder: str, name: str, trigger: str, prompts: str, keep: tuple[str, ...] = ()) -> list[Any]:
        """Values of name, trigger and prompts; as they are where the folder may not be looked into from here."""
        place = Path((folder or "").strip().strip('"'))
        if not (folder or "").strip() or not permits(place):
            return [SKIP] * len(FOLLOW)
        trigger = (trigger or "").strip()
        known = "" if trigger in self._proposed and "trigger" not in keep else trigger
        found = propose(place.expanduser(), known, self.workbench.host.literal)
        new = {
            "name": self.workbench.free_name(found.name) if found.name else "",
            "trigger": found.trigger,
            "sample_prompts": found.prompts,
        }
        shown = {"name": (name or "").strip(), "trigger": trigger, "sample_prompts": (prompts or "").strip()}
        there = place.expanduser().is_dir()  # then also that it proposes nothing is something to follow
        values = [
            new[field] if (new[field] or there) and field not in keep and shown[field] in self._proposed else SKIP
            for field in FOLLOW
        ]
        self._note(found, new["name"])
        return values

    def _note(self, found: Proposal, name: str = "") -> None:
        self._proposed |= {found.name, found.trigger, found.prompts, name}


def _changed(values: list[Any]) -> dict[str, Any]:
    return {name: value for name, value in zip(FOLLOW, values, strict=True) if value is not SKIP}
