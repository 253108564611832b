"""The caption of one picture: typed with completion, saved by key, picture after picture."""

from __future__ import annotations

import json
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.dataset.collection.captions import plan_texts
from lib_lora.dataset.tags.index import CHUNK
from lib_lora.dataset.tags.pieces import split_pieces
from lib_lora.dataset.tags.vocabulary import Vocabulary, read_vocabulary
from lib_lora.dataset.text_file import plain_lines
from lib_lora.errors import UserError
from lib_lora.ui import html
from lib_lora.ui.actions import panel
from lib_lora.ui.compat import SKIP
from lib_lora.ui.dataset.pages import Connector
from lib_lora.ui.dataset.panel import Panel, Verb, View
from lib_lora.ui.dataset.session import digest
from lib_lora.ui.dataset.views import file_name, link, text

SUGGESTIONS = 12
TYPED = 1000  # texts of which it is known what they replaced, for pages that were not told yet
LIMITS = (CHUNK, 2 * CHUNK, 3 * CHUNK)


class CaptionPanel(Panel):
    """At the right of the gallery; ``javascript/lora_workbench_caption.js`` is its other half, and has the protocol."""

    follows = True

    def build(self) -> None:
        """The picture, its caption, and the list of tags that completes it."""
        self.picture = panel("lw_ds_current", html.hint("Click a picture to edit its caption."))
        self.caption = gr.Textbox(
            label="Caption",
            info="Saves itself when you leave it · Tab completes · Ctrl+Enter goes on · Alt+←, Alt+→ turn",
            lines=6,
            elem_id="lw_ds_caption",
            interactive=True,
        )
        self.count = panel("lw_ds_count")
        self.suggestions = panel("lw_ds_suggestions")
        with gr.Row(elem_classes=["lw-ds-keys"]):
            self.back = gr.Button("‹", elem_id="lw_ds_back", size="sm", min_width=40)
            self.save = gr.Button("Save", elem_id="lw_ds_save", size="sm", min_width=70)
            self.save_next = gr.Button("Save, next", elem_id="lw_ds_save_next", size="sm", min_width=90)
            self.next = gr.Button("›", elem_id="lw_ds_next", size="sm", min_width=40)
        self.message = panel("lw_ds_caption_message")
        self.base = gr.Textbox(label="What was shown", elem_id="lw_ds_caption_base", elem_classes=["lw-hidden"])
        self.left = gr.Textbox(label="What was typed", elem_id="lw_ds_left", elem_classes=["lw-hidden"])
        self.kept = panel("lw_ds_kept")
        self.word = gr.Textbox(label="Word", elem_id="lw_ds_word", elem_classes=["lw-hidden"])
        with gr.Accordion("Complete from a booru's list too", open=False, elem_id="lw_ds_booru"):
            self.csv = gr.Textbox(
                label="List of tags (csv)", info="For example danbooru.csv; tag, type, posts", elem_id="lw_ds_csv"
            )

    def connect(self, on: Connector) -> None:
        """Buttons and keys; what is typed is saved for the picture it was typed for."""
        for button, step in ((self.back, -1), (self.next, 1), (self.save, 0), (self.save_next, 1)):
            on(button.click, self.move(step), self.field, self.message, self.field)
        on(self.left.change, self.save_left, [self.left], self.message, [self.kept])
        on.listen(self.word.change, self.complete, [self.word, self.caption, self.csv], [self.suggestions, self.count])
        on.listen(self.caption.change, self.counted, [self.caption], [self.count])
        on.act(self.csv.blur, self.load_csv, [self.csv], self.message)

    @property
    def field(self) -> list[Any]:
        """The text, and which picture's it is; they always go together."""
        return [self.caption, self.base]

    def views(self) -> list[View]:
        """What shows the current picture."""
        return [(self.picture, self._picture)]

    def verbs(self) -> dict[str, Verb]:
        """``select``: a click on a picture."""
        return {"select": self.select}

    def select(self, key: str) -> None:
        """Edit the caption of another picture: its key, alone or as the base of the caption that the page has."""
        self.session.current = self.session.find(key.partition("|")[0]).path
        self.session.look()

    def now(self) -> str:
        """The current caption as saved."""
        try:
            return plain_lines(self.session.current_picture().text)
        except UserError:
            return ""

    def shown(self) -> list[str]:
        """Values of `field`: the current caption, and its picture with a digest of that text."""
        try:
            picture = self.session.current_picture()
        except UserError:
            return ["", ""]
        return [plain_lines(picture.text), self.session.base(picture)]

    def keep(self, caption: str, base: str, author: str = "") -> str:
        """Save what was typed into the field, if anything was; to be called before another caption is shown in it.

        Args:
            base: as `shown` gave it, when the field was filled.
            author: names the page, which may go on typing on what it has saved before it is told the new base.

        Raises:
            UserError: the picture has gone, or its caption was changed elsewhere meanwhile.
        """
        with self.session.saving:
            return self._keep(plain_lines(caption or ""), base or "", author)

    def _keep(self, text: str, base: str, author: str) -> str:
        key, _, before = base.partition("|")
        if not key or digest(text) == before:
            return ""
        picture = self.session.find(key)
        if plain_lines(picture.text) == text:
            return ""
        if not picture.readable:
            raise UserError("This caption cannot be read, so it is left alone", where=picture.source)
        change = plan_texts([(picture, text)], f"Caption of {picture.path.name}")
        found = self.session.base(picture)
        typed = self.session.typed
        if change.notes or found not in (base, typed.get((author, base))):
            fix = "Copy what you typed, click the picture again, and put it in"
            raise UserError("The caption was changed elsewhere while you typed", where=picture.caption, fix=fix)
        self.session.apply_now(change)
        if author:
            now = self.session.base(self.session.find(key))
            for earlier in ((author, base), (author, found)):
                typed.pop(earlier, None)
                typed[earlier] = now
            while len(typed) > TYPED:
                typed.pop(next(iter(typed)))  # the oldest
        return html.message(f"Saved {picture.path.name}.", html.GOOD)

    @changes
    def save_left(self, left: str) -> list[Any]:
        """Save captions that were typed and left.

        Args:
            left: JSON ``{author, number, captions: [{text, base}]}``; gradio also says when it empties the field.

        Returns:
            What is said, and HTML that tells the page's script the number and each picture's base from now on.
        """
        if not left:
            return [SKIP, SKIP]
        message = json.loads(left)
        said, bases = [], {}
        for caption in message["captions"]:
            text, base = str(caption["text"]), str(caption["base"])
            try:
                said.append(self.keep(text, base, str(message["author"])))
                bases[base] = self.session.base(self.session.find(base.partition("|")[0]))
            except UserError as error:
                said.append(html.error_message(error) + html.copyable(text))
        kept = json.dumps({"number": message["number"], "bases": bases})
        return ["".join(said) or SKIP, f'<i data-lw-kept="{escape(kept)}"></i>']

    @looks
    def counted(self, caption: str) -> str:
        """The length of what is in the field."""
        return count_view(caption or "")

    @looks(paths=("path",))
    def load_csv(self, path: str) -> str:
        """Complete tags from a list of a booru's; empty: none."""
        if not (path or "").strip():
            return ""
        return html.message(f"{_vocabulary(path.strip()).size:,} tags can be completed.", html.GOOD)

    @looks(paths=("csv",))
    def complete(self, word: str, caption: str, csv: str) -> list[str]:
        """Suggestions for the word that is being typed (before ``|``), and the length of the caption."""
        start = (word or "").split("|")[0].strip()
        there = set(split_pieces(caption or "")) - {start}
        found = [(t, n) for t, n in self._suggestions(start, (csv or "").strip()) if t not in there] if start else []
        found = found[:SUGGESTIONS]
        buttons = "".join(
            f'<button class="lw-tag" data-lw-complete="{text(tag)}">{text(tag)} <small>{count:,}</small></button>'
            for tag, count in found
        )
        return [f'<div class="lw-chips">{buttons}</div>' if buttons else "", count_view(caption or "")]

    def _suggestions(self, start: str, csv: str) -> list[tuple[str, int]]:
        if self.session.editor is None:
            return []
        tags = self.session.editor.tags
        own = tags.complete(start, 3 * SUGGESTIONS)
        counter = tags.counter()
        found = {tag: counter[tag] for tag in own}
        if csv:
            for known in safely_read(csv).complete(start, SUGGESTIONS):
                found.setdefault(known.tag, known.count)
        return list(found.items())

    def move(self, step: int) -> Any:
        """A handler that saves what was typed and shows another picture: the next, the one before, or the same."""

        @changes
        def go(caption: str, base: str) -> list[Any]:
            saved = self.keep(caption, base)
            shown = self.session.shown()
            here = next((row for row, picture in enumerate(shown) if picture.path == self.session.current), -1)
            if step and shown:
                self.session.current = shown[min(len(shown) - 1, max(0, here + step))].path
            self.session.look()
            return [saved or SKIP, *self.shown()]

        return go

    def _picture(self) -> str:
        try:
            picture = self.session.current_picture()
        except UserError:
            return html.hint("Click a picture to edit its caption.")
        url = self.album.preview(picture)
        key = self.session.key(picture)
        image = (
            f'<img src="{text(url)}" alt="{text(picture.path.name)}" data-lw-key="{key}" {html.ZOOMS}>' if url else ""
        )
        others = self._common()
        size = f"{picture.size[0]}×{picture.size[1]}"
        mark = link("unmark" if picture.path in self.session.marked else "mark", "mark", key)
        below = f"<figcaption>{file_name(picture.path.name)} · {size} {mark}</figcaption>"
        return f'<figure class="lw-ds-current">{image}{below}</figure>{others}'

    def _common(self) -> str:
        """Tags of the marked pictures: those of all in bold, of some in grey."""
        marked = [p for p in self.session.opened().pictures if p.path in self.session.marked]
        if len(marked) < 2:
            return ""
        shared = set(marked[0].tags).intersection(*(picture.tags for picture in marked[1:]))
        some = dict.fromkeys(tag for picture in marked for tag in picture.tags)
        items = "".join(f"<b>{text(tag)}</b> " if tag in shared else f"<i>{text(tag)}</i> " for tag in some)
        return f'<div class="lw-ds-common"><span>{len(marked)} marked:</span> {items}</div>'


def count_view(caption: str) -> str:
    """Tokens of a caption against the chunks of the text encoder."""
    count = count_tokens(caption)
    limit = next((limit for limit in LIMITS if count <= limit), LIMITS[-1])
    share = min(100, 100 * count / limit)
    over = " – the rest is cut off" if count > LIMITS[-1] else ""
    bar = f'<progress max=100 value={share:.0f} aria-label="Length of the caption"></progress>'
    return f'<div class="lw-job-line">{bar}<span class="lw-quiet">{count} of {limit} tokens{over}</span></div>'


def count_tokens(caption: str) -> int:
    """Tokens of CLIP, without begin and end."""
    from lib_lora.hosts.standalone.tokenizer import clip_tokenizer  # transformers takes seconds to import

    return len(clip_tokenizer()(caption, add_special_tokens=False).input_ids)


def safely_read(path: str) -> Vocabulary:
    """The list, or an empty one while its path is being typed."""
    try:
        return _vocabulary(path)
    except UserError:
        return Vocabulary([])


@lru_cache(maxsize=2)
def _vocabulary(path: str) -> Vocabulary:
    return read_vocabulary(Path(path).expanduser())
