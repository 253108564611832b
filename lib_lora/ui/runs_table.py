"""The table of all runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape

from lib_lora.errors import UserError
from lib_lora.training.best_epoch import suggest_epoch
from lib_lora.training.run import Run
from lib_lora.training.run_store import RunStore
from lib_lora.ui import html
from lib_lora.ui.files import Pictures
from lib_lora.ui.run_matrix import samples

# where a click is told: a run to open, a step to go back to, and what to do with the run of a row
PICK, BACK, ROW = "lw_runs_pick", "lw_runs_back", "lw_runs_row"
HEADERS = ("Name", "Started", "Checkpoint", "Steps", "State", "Lowest loss", "Chosen", "Notes")
SHOWN = 50
NOTE = 80  # characters of a note
STATES = {"waiting": "in the queue", "running": "is being trained", "paused": "paused"}
ACTIONS = (("compare", "Compare"), ("continue", "Continue"), ("settings", "Use settings"), ("delete", "✕"))
FAILED_EARLY = "failed before the first step"
SAID = {"delete": "Delete …"}  # of labels that are signs


class RunsTable:
    """A row for each of the newest runs, with its latest sample and what can be done with it.

    Rows are drawn anew only when their folder has changed. The page's script searches and sorts them.
    """

    def __init__(self, store: RunStore, pictures: Pictures | None = None):
        self.store = store
        self.pictures = pictures
        self._cells: dict[str, tuple[tuple[int, str | None], str]] = {}

    def draw(self, names: Sequence[str], active: Mapping[str, str], selected: str | None) -> str:
        """The table; empty without runs.

        Args:
            names: ids of the runs, newest first.
            active: run id -> state of its job, for runs that are trained or wait.
            selected: id of the row that stands out.
        """
        shown = [(name, cells) for name in names[:SHOWN] if (cells := self._row(name, active.get(name)))]
        rows = "".join(f"<tr{' class=lw-marked' if name == selected else ''}>{cells}</tr>" for name, cells in shown)
        order = '<th scope="col"><button type="button" data-lw-runs-order>{}</button></th>'.format
        head = f"<td></td>{''.join(map(order, HEADERS))}"
        more = f'<p class="lw-quiet">and {len(names) - SHOWN} older runs</p>' if len(names) > SHOWN else ""
        table = f'<table class="lw-table lw-runs"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        find = '<input type="search" class="lw-runs-find" placeholder="Find a run" aria-label="Find a run">'
        scroll = '<div class="lw-scroll lw-runs-scroll" tabindex="0" role="region" aria-label="Runs">'
        return f"{find}{scroll}{table}</div>{more}" if rows else ""

    def _row(self, name: str, active: str | None) -> str:
        try:
            run = self.store.open(name)
            key = (run.folder.stat().st_mtime_ns, active)
            known = self._cells.get(name)
            if known is None or known[0] != key:
                known = self._cells[name] = (key, _cells(run, active, self._picture(run)))
        except (UserError, OSError):
            return ""  # deleted a moment ago, or damaged: opening it says what is wrong
        return known[1]

    def _picture(self, run: Run) -> str:
        drawn = list(samples(run).values()) if self.pictures else []
        if not drawn or self.pictures is None:
            return ""
        path = drawn[-1][min(drawn[-1])]
        return f'<img src="{escape(self.pictures.url(path))}" alt="Latest sample" loading="lazy" {html.ZOOMS}>'


def _cells(run: Run, active: str | None, picture: str) -> str:
    try:
        config = run.config()
    except UserError as error:
        pick = html.pick_button(run.id, PICK, f"open:{run.id}")
        return f'<td></td><td>{pick}</td><td colspan="{len(HEADERS) - 1}">{escape(str(error))}</td>'
    best, chosen, note = suggest_epoch(run.epochs()), run.chosen(), " ".join(run.notes().split())
    texts = (
        time.strftime("%Y-%m-%d %H:%M", time.localtime(run.record.created)),
        run.record.model,
        str(run.steps),
        state_of(run, active),
        f"{best.loss:.4f} (epoch {best.epoch})" if best else "",
        f"epoch {chosen['epoch']} at {chosen['weight']:g}" if chosen else "",
        _damage(run) + (note if len(note) <= NOTE else note[: NOTE - 1] + "…"),
    )
    first = html.pick_button(config.name, PICK, f"open:{run.id}")
    able = [(verb, label) for verb, label in ACTIONS if active is None or verb in ("compare", "settings")]
    buttons = "".join(
        html.pick_button(label, ROW, f"{verb}:{run.id}", "lw-row", said=f"{SAID.get(verb, label)} {config.name}")
        for verb, label in (_named(action, run) for action in able)
    )
    cells = "".join(f"<td>{escape(text)}</td>" for text in texts)
    # under the name, which is in view however narrow the page: in a column of their own they were scrolled away
    named = f'<td data-lw-sort="{escape(config.name)}">{first}<div class="lw-runs-do">{buttons}</div></td>'
    return f'<td class="lw-runs-picture">{picture}</td>{named}{cells}'


def _named(action: tuple[str, str], run: Run) -> tuple[str, str]:
    """A run that made no step, such as one that failed in its preparation, has nothing to continue."""
    return ("continue", "Start again") if action[0] == "continue" and not run.has_begun else action


def _damage(run: Run) -> str:
    names = ", ".join(run.damaged())
    return f"⚠ damaged: {names}; open it to see what to do. " if names else ""


def state_of(run: Run, active: str | None) -> str:
    """A run without a result is being trained if a job says so, else it was cut off or has not begun."""
    if active is not None:
        return STATES.get(active, active)
    if run.status == "failed" and not run.has_begun:
        return FAILED_EARLY
    if run.status != "unfinished":
        return run.status
    return "cut off, can be continued" if run.has_begun else "not begun"
