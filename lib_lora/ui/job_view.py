"""How a panel shows the job that it started."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TypeVar

from lib_lora.jobs.queue import JobQueue
from lib_lora.jobs.views import CANCELLED, CANCELLING, WAITING, JobView
from lib_lora.ui import html
from lib_lora.ui.files import Pictures

View = TypeVar("View", bound=JobView)


def of_kind(queue: JobQueue, *kinds: str) -> list[JobView]:
    """The jobs of these kinds."""
    return [job for job in queue.jobs() if job.kind in kinds]


def of_type(queue: JobQueue, view: type[View]) -> list[View]:
    """The jobs whose records are of this type."""
    return [job for job in queue.jobs() if isinstance(job, view)]


def newest(jobs: Sequence[View]) -> View | None:
    """The one that was submitted last."""
    return max(jobs, key=lambda job: job.id, default=None)


CANCEL = "lw_cancel"  # the hidden field of the strip that the button beside a bar writes into


def progress(job: JobView | None, *, cancels: bool = False, cancelled: str = "Cancelled.") -> str:
    """A bar while it runs, a message if it failed, nothing when all is well.

    Args:
        cancels: a button beside the bar, where the panel has none of its own.
        cancelled: what is said where it was cancelled.
    """
    if job is None:
        return ""
    if job.error:
        return html.job_error(job.error)
    if job.state == CANCELLED:
        return html.message(cancelled)
    if job.ended:
        return ""
    share = f"value={100 * job.done / job.total:.1f}" if job.total else ""
    left = f", {html.duration(job.remaining)} left" if job.remaining is not None else ""
    count = f"{job.done}/{job.total}{left}" if job.total else ""  # how much there is may not be known yet
    text = "waits for its turn" if job.state == WAITING else " · ".join(filter(None, (count, job.note)))
    text = "Cancelling …" if job.note == CANCELLING else text
    button = html.pick_button("Cancel", CANCEL, str(job.id), said=f"Cancel: {job.title}") if cancels else ""
    return (
        f'<div class="lw-job-line"><progress max=100 {share} aria-label="Progress"></progress>'
        f'<span class="lw-quiet">{escape(text)}</span>{button}</div>'
    )


def side_by_side(shown: Sequence[tuple[Path, str]], pictures: Pictures) -> str:
    """Pictures of one prompt and seed in a row; a click enlarges one, and the arrow keys go on from there."""
    cells = "".join(
        f'<figure><img src="{pictures.url(path)}" alt="{escape(name)}" {html.ZOOMS}>'
        f"<figcaption>{escape(name)}</figcaption></figure>"
        for path, name in shown
    )
    return f'<div class="lw-beside" data-lw-loupe>{cells}</div>'
