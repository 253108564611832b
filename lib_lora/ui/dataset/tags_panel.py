"""The tags of the set: how often, and what to do with them."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from lib_lora.access import changes
from lib_lora.dataset.collection.captions import plan_import, plan_one_line
from lib_lora.dataset.collection.moving import plan_numbering
from lib_lora.dataset.tags.edits import (
    Add,
    Edit,
    Normalise,
    PruneImplied,
    Remove,
    Replace,
    ReplacePattern,
    Sort,
    deduplicate,
)
from lib_lora.dataset.tags.index import TagFilter
from lib_lora.dataset.tags.pieces import split_pieces
from lib_lora.errors import UserError
from lib_lora.ui import html
from lib_lora.ui.actions import panel
from lib_lora.ui.dataset.pages import Connector
from lib_lora.ui.dataset.panel import Panel, Verb, View
from lib_lora.ui.dataset.views import text

SHOWN = 150
IMPORT, NUMBERS = "Write captions for training (from side-cars)", "Rename to ascending numbers"
ONE_LINE = "Part tags by commas (one a line, or blanks)"
ADD_FIRST, ADD_LAST, REMOVE, REPLACE, PATTERN = (
    "Add in front (trigger)", "Add at the end", "Remove", "Replace by …", "Replace text by a pattern (regex)",
)  # fmt: skip
BRACKETS, BRACKETS_ESCAPED, UNDERSCORES = (
    "Normalise: blanks, plain brackets", "Normalise: blanks, escaped brackets", "Normalise: underscores",
)  # fmt: skip
ALPHABET, FREQUENCY, TWICE, IMPLIED = (
    "Sort by alphabet", "Sort by frequency", "Remove repeated tags", "Remove implied tags (hair ← long hair)",
)  # fmt: skip
ACTIONS = (
    ADD_FIRST, ADD_LAST, REMOVE, REPLACE, PATTERN, BRACKETS, BRACKETS_ESCAPED, UNDERSCORES, ALPHABET, FREQUENCY, TWICE,
    IMPLIED, ONE_LINE, IMPORT, NUMBERS,
)  # fmt: skip
NEEDS_TAGS = (ADD_FIRST, ADD_LAST, REMOVE, REPLACE, PATTERN)


class TagsPanel(Panel):
    """A table of tags beside the edits."""

    name, key = "Tags", "tags"

    def build(self) -> None:
        """The tags of the set, and what can be done with some."""
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                self.search = gr.Textbox(label="Find tags", placeholder="hair", elem_id="lw_ds_tag_search")
                self.table = panel("lw_ds_tags")
            with gr.Column(scale=2, min_width=280):
                self.action = gr.Dropdown(
                    choices=list(ACTIONS),
                    value=ADD_FIRST,
                    label="What to do",
                    elem_id="lw_ds_tag_action",
                    interactive=True,
                )
                self.tags = gr.Textbox(
                    label="Tags", info="Separated by commas, or the pattern", elem_id="lw_ds_tag_tags"
                )
                self.new = gr.Textbox(label="Replace by", info="Empty removes", elem_id="lw_ds_tag_new")
                self.keep = gr.Number(
                    value=1,
                    precision=0,
                    label="First tags that stay",
                    info="When sorting or pruning",
                    elem_id="lw_ds_tag_keep",
                )
                self.plan = gr.Button("Show what would change", variant="primary", elem_id="lw_ds_tag_plan")
                self.message = panel("lw_ds_tag_message")
                self.gaps = gr.Button("Find images without these tags", elem_id="lw_ds_tag_gaps")

    def connect(self, on: Connector) -> None:
        """Buttons of the dry runs, and the search."""
        on(self.plan.click, self.do_plan, [self.action, self.tags, self.new, self.keep], self.message)
        on(self.gaps.click, self.do_gaps, [self.tags], self.message)
        on.listen(self.search.change, self.narrow, [self.search], [self.table])

    def views(self) -> list[View]:
        """The table of tags."""
        return [(self.table, self.table_view)]

    def verbs(self) -> dict[str, Verb]:
        """``with`` and ``without``: a click filters by a tag."""
        return {"with": lambda tag: self._filtered(tag, True), "without": lambda tag: self._filtered(tag, False)}

    @changes
    def do_plan(self, action: str, tags: str, new: str, keep: float | None) -> str:
        """Dry run of an action on the chosen pictures' captions."""
        chosen = self.session.chosen()
        if action == IMPORT:
            change = plan_import(chosen)
        elif action == ONE_LINE:
            change = plan_one_line(chosen)
        elif action == NUMBERS:
            change = plan_numbering(chosen)
        else:
            edit = self._edit(action, tags or "", new or "", int(keep or 0))
            named = f": {tags}" if action in NEEDS_TAGS else ""
            change = self.session.opened().plan_tags(edit, action.rstrip(" …") + named, chosen)
        return html.message(self.session.propose(change))

    @changes
    def do_gaps(self, tags: str) -> str:
        """Show the pictures that lack one of these tags."""
        wanted = split_pieces(tags or "")
        if not wanted:
            raise UserError("No tag is given", where="Tags", fix="Type the trigger word")
        editor = self.session.opened()
        rows = editor.tags.lacking(wanted)
        self.session.only = (f"without {', '.join(wanted)}", frozenset(editor.pictures[row].path for row in rows))
        self.session.touch()
        return html.message(f"{html.plural(len(rows), 'image')} without {', '.join(wanted)}.")

    @changes
    def narrow(self, wanted: str) -> str:
        """Show only tags that have these words."""
        self.session.narrowed = wanted or ""
        return self.table_view()

    def table_view(self) -> str:
        """Tags with counts; a click filters by them, the crossed circle filters them out."""
        if self.session.editor is None:
            return ""
        words = self.session.narrowed.casefold().split()
        found = [
            (tag, count)
            for tag, count in self.session.editor.tags.frequencies()
            if all(word in tag.casefold() for word in words)
        ]
        chips = "".join(
            f'<span class="lw-tag"><button data-lw-do="with:{text(tag)}" title="Show images with it">{text(tag)} '
            f'<b>{count:,}</b></button><button data-lw-do="without:{text(tag)}" title="Hide images with it" '
            f'aria-label="Without {text(tag)}">⊘</button></span>'
            for tag, count in found[:SHOWN]
        )
        more = f'<p class="lw-quiet">and {len(found) - SHOWN:,} more</p>' if len(found) > SHOWN else ""
        return f'<div class="lw-chips lw-ds-tags">{chips or html.hint("There are no tags yet.")}</div>{more}'

    def _edit(self, action: str, tags: str, new: str, keep: int) -> Edit:
        given = tuple(split_pieces(tags))
        if action in NEEDS_TAGS and not given:
            raise UserError("No tag is given", where="Tags", fix="Type one or more, parted by commas")
        edits: dict[str, Callable[[], Edit]] = {
            ADD_FIRST: lambda: Add(given, first=True),
            ADD_LAST: lambda: Add(given),
            REMOVE: lambda: Remove(given),
            REPLACE: lambda: Replace(given, tuple(split_pieces(new))),
            PATTERN: lambda: ReplacePattern(tags, new),
            BRACKETS: Normalise,
            BRACKETS_ESCAPED: lambda: Normalise(escaped=True),
            UNDERSCORES: lambda: Normalise(underscores=True),
            ALPHABET: lambda: Sort(keep=keep),
            FREQUENCY: lambda: Sort(self.session.opened().tags.counter(), keep),
            TWICE: lambda: deduplicate,
            IMPLIED: lambda: PruneImplied(keep=keep),
        }
        return edits[action]()

    def _filtered(self, tag: str, wanted: bool) -> None:
        """Toggle a tag in the filter."""
        now = self.session.filter
        all_of, none_of = [t for t in now.all_of if t != tag], [t for t in now.none_of if t != tag]
        if wanted and tag not in now.all_of:
            all_of.append(tag)
        if not wanted and tag not in now.none_of:
            none_of.append(tag)
        self.session.filter = TagFilter(tuple(all_of), now.any_of, tuple(none_of))
        self.session.page = 0
        self.session.touch()
