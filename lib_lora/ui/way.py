"""The way through: from pictures to a published LoRA in five steps, with what is done and what comes next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from lib_lora.errors import UserError
from lib_lora.jobs.views import PREPARING, TrainView
from lib_lora.training.run import PUBLISHED, Run
from lib_lora.ui import html
from lib_lora.ui.actions import panel
from lib_lora.ui.dataset.pages import Connector
from lib_lora.ui.job_view import of_type
from lib_lora.ui.poll import Poller, Watched
from lib_lora.workbench import Workbench

CARD = "name, card, picture"


@dataclass(frozen=True)
class Step:
    """One of the five.

    Attributes:
        tab: the name of the tab where it is done.
        said: what there is of it, in a few words.
        lora: what it is to begin with, where its tab shows none.
    """

    name: str
    tab: str
    said: str
    done: bool
    lora: str = ""


class Way:
    """Follows the set of the page, or that was used last, and the newest run of it; of all, where none is open.

    Args:
        opened: folder and number of pictures of that set; no number where they are not counted, None where there is
            no set.
    """

    def __init__(self, workbench: Workbench, opened: Callable[[], tuple[Path, int | None] | None]):
        self.workbench = workbench
        self.opened = opened
        self._runs = Watched(lambda: list(workbench.runs.with_config()), workbench.host.paths.runs)

    def build(self) -> None:
        """The strip."""
        self.strip = panel("lw_way", way_view(self.steps()))

    def connect(self, poller: Poller, on: Connector) -> None:
        """The strip follows set, runs and pictures; ``on``: knows which page asks."""
        on.keep(poller, lambda: [way_view(self.steps())], [self.strip])

    def steps(self) -> list[Step]:
        """All five, as they are now."""
        run = self._run()
        trained, training = self._training(run)
        chosen = run.chosen() if run else {}
        after = run.folder / "chosen.json" if run else Path()
        tuned = bool(chosen) and _newer(self.workbench.host.paths.places.block_previews, after)
        published = run is not None and (run.folder / PUBLISHED).exists()
        picked = f"epoch {chosen['epoch']} at {chosen['weight']:g}" if chosen else "the best epoch"
        said, there = self._set(run)
        return [
            Step("Dataset", "Dataset", said, there),
            Step("Train", "Train", training, trained),
            Step("Choose", "Epoch grid", picked, bool(chosen)),
            Step("Tune", "Blocks", "seen with its blocks" if tuned else "if a block needs it", tuned or published),
            Step("Publish", "Publish", "published" if published else CARD, published, self._chosen(run)),
        ]

    def _chosen(self, run: Run | None) -> str:
        """The LoRA of the epoch that was chosen, by its name; empty where there is none (any more)."""
        epoch = run.chosen().get("epoch") if run else None
        if run is None or epoch is None:
            return ""
        path = next((file.path for file in self.workbench.epoch_files(run.id) if file.epoch == epoch), None)
        return next((lora.name for lora in self.workbench.list_loras() if lora.path == path), "")

    def _run(self) -> Run | None:
        """The newest run of the open set, else of all."""
        opened = self.opened()
        return next((run for run, config in self._runs() if not opened or Path(config.data_dir) == opened[0]), None)

    def _set(self, run: Run | None) -> tuple[str, bool]:
        if opened := self.opened():
            folder, count = opened
            if count is None:
                return folder.name, True
            return f"{folder.name} · {html.plural(count, 'image')}", count > 0
        try:
            folder = Path(run.config().data_dir) if run else None
        except UserError:
            folder = None
        return (folder.name, True) if folder else ("pictures and captions", False)

    def _training(self, run: Run | None) -> tuple[bool, str]:
        """Whether there is something to choose from, and how far it is."""
        if run is None:
            return False, "a LoRA, epoch by epoch"
        job = next((job for job in of_type(self.workbench.queue, TrainView) if job.run == run.id), None)
        if job is not None and not job.ended:
            return False, "begins …" if job.phase == PREPARING else f"epoch {job.epoch} of {job.epochs}"
        saved = sum(1 for row in run.epochs() if row.get("lora_path"))
        return saved > 0, f"{html.plural(saved, 'epoch')} saved" if saved else "not finished"


def way_view(steps: Sequence[Step]) -> str:
    """The strip; a click on a step opens its tab. The first step that is not done stands out."""
    following = next((step for step in steps if not step.done), None)
    items = []
    for number, step in enumerate(steps, 1):
        state, mark = ("lw-done", "✓") if step.done else ("lw-next" if step is following else "", str(number))
        current = ' aria-current="step"' if step is following else ""
        carried = f' data-lw-lora="{escape(step.lora)}"' if step.lora else ""
        items.append(
            f'<li class="{state}"><button type="button" data-lw-tab="{escape(step.tab)}"{current}{carried}>'
            f"<i{' title=done' if step.done else ''}>{mark}</i><b>{step.name}</b>"
            f"<small>{escape(step.said)}</small></button></li>"
        )
    return f'<nav aria-label="The way through"><ol class="lw-way">{"".join(items)}</ol></nav>'


def _newer(path: Path, than: Path) -> bool:
    return path.exists() and than.exists() and path.stat().st_mtime > than.stat().st_mtime
