"""Small pieces of HTML, escaped, with the class names of style.css."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from lib_lora.errors import UserError

LOG = logging.getLogger(__name__)

ZOOMS = 'data-lw-zoom tabindex="0" role="button" title="Enlarge"'  # of an image that a click or Enter enlarges
GUIDES = {  # walk-throughs, docs/walk-NAME.md
    "character": "Train a character",
    "likeness": "Train a likeness",
    "style": "Train a style, clean",
    "two-subjects": "Train two subjects",
}
TRUTH = "truth"  # docs/truth.md, given out beside them
INFO, GOOD, WARNING, ERROR = "info", "good", "warning", "error"


def message(text: str, kind: str = INFO) -> str:
    """One line that a screen reader announces; empty text gives nothing."""
    return f'<div class="lw-message lw-{kind}" role="status">{escape(text)}</div>' if text else ""


def until_idle(text: str, kind: str = GOOD) -> str:
    """A message about jobs: it goes when all that was in the queue has ended."""
    return message(text, kind).replace(' role="status"', ' role="status" data-lw-until="idle"', 1)


def error_message(error: UserError, kind: str = ERROR) -> str:
    """What is wrong, where, and what to do about it."""
    where = f" <code>{escape(error.where)}</code>" if error.where else ""
    fix = f'<span class="lw-fix">{escape(sentence(error.fix))}</span>' if error.fix else ""
    return f'<div class="lw-message lw-{kind}" role="status">{escape(error.what)}{where} {fix}</div>'


def copyable(text: str) -> str:
    """A text that a click copies."""
    return f'<code data-lw-copy tabindex="0" role="button" title="Copy">{escape(text)}</code>'


def job_error(error: Mapping[str, str]) -> str:
    """The same for a job that failed."""
    told = error_message(UserError(error["what"], where=error["where"] or None, fix=error["fix"] or None))
    if not error.get("details"):
        return told
    text = f"<details><summary>Details</summary><pre>{escape(error['details'])}</pre></details>"
    return f'{told}<div class="lw-report">{text}<button type="button" data-lw-report>Copy report</button></div>'


def unexpected(error: Exception) -> str:
    """For a fault of ours: named here, with its details in the console."""
    LOG.exception("The page could not do this")
    return message(f"Unexpected error: {error or type(error).__name__}. Details are in the console.", ERROR)


def sentence(text: str | None) -> str:
    """``text`` with a full stop."""
    return text if not text or text[-1] in ".!?" else text + "."


def hint(text: str, label: str = "", tab: str = "", more: str = "") -> str:
    """An empty state: what will be here, and how to get it.

    Args:
        label, tab: of a button that leads to another tab, by its name; the page's script opens it.
        more: HTML beside the button.
    """
    lead = f'<button type="button" class="lw-lead" data-lw-tab="{escape(tab)}">{escape(label)}</button>' if tab else ""
    said = f"<p>{escape(text)}</p>" if lead or more else escape(text)
    return f'<div class="lw-hint">{said}{lead}{more}</div>'


def guides(*chosen: str) -> str:
    """Links to the walk-throughs in docs/, which the program serves as plain text: ``character``, ``two-subjects`` …"""
    links = " · ".join(f'<a href="lora_workbench/guide/{name}" target="_blank">{GUIDES[name]}</a>' for name in chosen)
    return f'<p class="lw-quiet">Step by step: {links}</p>'


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, marked: Iterable[int] = ()) -> str:
    """A plain table; rows whose number is in ``marked`` stand out."""
    marked = set(marked)
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in headers)
    body = "".join(
        f"<tr{' class=lw-marked' if i in marked else ''}>"
        + "".join(f"<td>{escape(str(v))}</td>" for v in row)
        + "</tr>"
        for i, row in enumerate(rows)
    )
    content = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="lw-scroll"><table class="lw-table">{content}</table></div>'


def pick_button(text: str, into: str, value: str, css: str = "", said: str = "") -> str:
    """A button that writes ``value`` and the time into the hidden textbox ``into``, whose change is an event.

    Args:
        said: what a screen reader says, and the mouse, where ``text`` alone is the same on several buttons, or a sign.
    """
    label = f' aria-label="{escape(said)}" title="{escape(said)}"' if said else ""
    return (
        f'<button type="button" class="lw-pick {css}" data-lw-into="{escape(into)}" data-lw-pick="{escape(value)}"'
        f"{label}>"
        f"{escape(text)}</button>"
    )


def sheet(url: str, title: str) -> str:
    """A grid as one large picture; a click enlarges it."""
    return (
        f'<figure class="lw-sheet"><figcaption><b>{escape(title)}</b></figcaption>'
        f'<img src="{escape(url)}" alt="{escape(title)}" loading="lazy" {ZOOMS}></figure>'
    )


def picture(url: str, caption: str, *, badge: str = "") -> str:
    """A thumbnail with its caption; a click enlarges it."""
    mark = f'<span class="lw-badge">{escape(badge)}</span>' if badge else ""
    return (
        f'<figure class="lw-picture"><img src="{escape(url)}" alt="{escape(caption)}" loading="lazy" {ZOOMS}>'
        f"{mark}<figcaption>{escape(caption)}</figcaption></figure>"
    )


def send_button(prompt: str, behind: str = "") -> str:
    """A button that puts ``prompt`` into txt2img, behind the text of the field with id ``behind``.

    It is in sight only where there is a txt2img.
    """
    field = f' data-lw-behind="{escape(behind)}"' if behind else ""
    return f'<button type="button" class="lw-send" data-lw-send="{escape(prompt)}"{field}>Send to txt2img</button>'


def duration(seconds: float | None) -> str:
    """``75`` → ``1 min 15 s``; None → empty."""
    if seconds is None:
        return ""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02} s" if seconds < 600 else f"{round(seconds / 60)} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"


def plural(count: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
