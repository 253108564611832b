"""Copies side by side with the one that is kept, and variants as groups that count as one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from lib_lora.access import changes
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.duplicates.groups import CopyGroup, find_duplicates, plan_rejects
from lib_lora.dataset.duplicates.search import SearchOptions
from lib_lora.errors import UserError
from lib_lora.ui import html
from lib_lora.ui.actions import panel
from lib_lora.ui.dataset.pages import Connector
from lib_lora.ui.dataset.panel import Panel, Verb, View

SHOWN = 40  # groups


class DuplicatesPanel(Panel):
    """Search, look, set aside."""

    name, key = "Duplicates", "duplicates"

    def build(self) -> None:
        """How alike copies are, and the groups that were found."""
        with gr.Row(elem_classes=["lw-fields"]):
            self.hardness = gr.Slider(
                60,
                100,
                value=95,
                step=1,
                label="Similarity",
                info="At least this likeness in %; lower finds more",
                elem_id="lw_ds_hardness",
            )
            self.mirrored = gr.Checkbox(value=True, label="Also mirrored", elem_id="lw_ds_mirrored")
            self.rotated = gr.Checkbox(value=True, label="Also rotated", elem_id="lw_ds_rotated")
            self.scaled = gr.Checkbox(value=True, label="Also other sizes", elem_id="lw_ds_scaled")
            self.content = gr.Checkbox(
                value=False,
                label="Ignore backgrounds",
                info="Transparency and flat borders do not count",
                elem_id="lw_ds_content",
            )
        with gr.Row(elem_classes=["lw-actions"]):
            self.search = gr.Button("Find duplicates", variant="primary", elem_id="lw_ds_find")
            self.aside = gr.Button("Set copies aside …", elem_id="lw_ds_aside", visible=False)
        self.message = panel("lw_ds_find_message")
        self.found = panel("lw_ds_found")

    def connect(self, on: Connector) -> None:
        """The search, and the dry run."""
        fields = [self.hardness, self.mirrored, self.rotated, self.scaled, self.content]
        on(self.search.click, self.do_search, fields, self.message)
        on(self.aside.click, self.do_aside, [], self.message)

    def views(self) -> list[View]:
        """The groups, and the button once something is set aside."""
        return [(self.found, self.found_view), (self.aside, self._aside)]

    def verbs(self) -> dict[str, Verb]:
        """``reject``: a click keeps a copy, or sets it aside."""
        return {"reject": self.toggle}

    @changes
    def do_search(self, hardness: float, mirrored: bool, rotated: bool, scaled: bool, content: bool) -> str:
        """Search as a job; ``hardness`` is a likeness in %."""
        options = SearchOptions(hardness, mirrored=mirrored, rotated=rotated, scaled=scaled, ignore_background=content)
        session = self.session
        pictures = session.opened().pictures

        def work() -> Iterator[tuple[int, int]]:
            found = yield from find_duplicates(pictures, options, session.cache)
            session.duplicates = found
            session.rejects = frozenset(picture.path for picture in found.rejects)

        session.run("Find duplicates", work)
        return ""

    @changes
    def do_aside(self) -> str:
        """Dry run: move what was set aside; the copy that stays keeps the best caption."""
        editor = self.session.opened()
        rejects = [picture for picture in editor.pictures if picture.path in self.session.rejects]
        if self.session.duplicates is None or not rejects:
            raise UserError("No copy is ticked", fix="Search first; a click on a picture ticks it")
        return html.message(self.session.propose(plan_rejects(self.session.duplicates, editor.rejected, rejects)))

    def toggle(self, key: str) -> None:
        """Keep a picture, or do not."""
        self.session.rejects ^= {self.session.find(key).path}
        self.session.touch()

    def found_view(self) -> str:
        """HTML of the groups."""
        found = self.session.duplicates
        if found is None:
            return html.hint("Copies are found and told apart from variants, the same picture with another expression.")
        copies = "".join(self._copies(group) for group in found.copies[:SHOWN])
        variants = "".join(
            f'<div class="lw-ds-group">{self.album.figures(group, "select")}</div>' for group in found.variants[:SHOWN]
        )
        hidden = max(0, len(found.copies) - SHOWN) + max(0, len(found.variants) - SHOWN)
        more = f'<p class="lw-quiet">and {hidden} more groups</p>' if hidden else ""
        if not copies and not variants:
            return html.hint("No copies and no variants.")
        of_copies = (
            f"<h4>{html.plural(len(found.copies), 'picture')} with copies – a click keeps a copy, or sets it aside</h4>"
        )
        of_variants = f"<h4>{html.plural(len(found.variants), 'group')} of variants – each counts as one image</h4>"
        return f"{of_copies + copies if copies else ''}{of_variants + variants if variants else ''}{more}"

    def _copies(self, group: CopyGroup) -> str:
        pictures = [group.keep, *(picture for picture, _ in group.copies)]
        notes = [self._note(group.keep, "largest")]
        for picture, pair in group.copies:
            mirrored, turned = ", mirrored" if pair.mirrored else "", f", turned {pair.turned}°" if pair.turned else ""
            notes.append(self._note(picture, f"{pair.likeness:.0f} %{mirrored}{turned}"))
        marks = ["lw-ds-rejected" if p.path in self.session.rejects else "lw-ds-kept" for p in pictures]
        return f'<div class="lw-ds-group">{self.album.figures(pictures, "reject", notes, marks)}</div>'

    def _note(self, picture: Picture, what: str) -> str:
        kept = "set aside" if picture.path in self.session.rejects else "keep"
        width, height = picture.size
        return f"{kept} · {what} · {width}×{height} · {picture.bytes / 1024:,.0f} kB"

    def _aside(self) -> Any:
        count = len(self.session.rejects) if self.session.duplicates else 0
        return gr.update(
            visible=count > 0, value=f"Set {html.plural(count, 'copy' if count == 1 else 'copie')} aside …"
        )
