"""The pictures of tuning by taste, drawn ahead by the queue."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from lib_lora.jobs.job import Progress
from lib_lora.jobs.queue import JobQueue
from lib_lora.jobs.tool_jobs import ToolJob
from lib_lora.models.base import GenerationRequest, Host
from lib_lora.tools.pictures import save_png
from lib_lora.tools.taste.drawing import Painter
from lib_lora.tools.taste.proposals import Point
from lib_lora.tools.taste.recipe import Recipe


@dataclass(frozen=True)
class Wanted:
    """A picture of question ``turn``: of which settings, how, and where it goes."""

    turn: int
    point: Point
    request: GenerationRequest
    path: Path


class TasteJob(ToolJob):
    """Draws what open questions lack, one side of one question after the other; what is answered meanwhile changes
    what comes next.

    Args:
        lora: that is tuned, for the title.
        missing: the recipe by now, and the pictures that are not there, in the order in which they are wanted.
        painter: draws for a recipe.
    """

    kind = "taste"

    def __init__(
        self,
        queue: JobQueue,
        lora: str,
        missing: Callable[[], tuple[Recipe, Sequence[Wanted]]],
        painter: Callable[[Recipe], Painter],
    ):
        super().__init__(queue, self.title_of(lora))
        self.missing, self.painter = missing, painter

    @staticmethod
    def title_of(lora: str) -> str:
        """What the job for a LoRA of this name is called."""
        return f"Pictures to compare, {lora}"

    @override
    def work(self, host: Host) -> Generator[Progress, None, None]:
        host.ensure_loaded()
        painter: Painter | None = None
        drawn_with: Recipe | None = None
        drawn = 0
        while True:
            recipe, missing = self.missing()
            if not missing:
                return
            yield Progress(drawn, drawn + len(missing), "pictures to compare")
            if painter is None or recipe != drawn_with:
                painter, drawn_with = self.painter(recipe), recipe
            first = missing[0]
            side = [one for one in missing if (one.turn, one.point) == (first.turn, first.point)]
            images = painter.draw(host, first.point, [one.request for one in side], self.cancelled)
            for one, image in zip(side, images, strict=True):
                save_png(image, one.path)
            drawn += len(side)
