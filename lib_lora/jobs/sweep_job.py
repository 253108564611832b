"""The grid at the end of a sweep: one column for each run that has finished."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

from typing_extensions import override

from lib_lora.errors import UserError
from lib_lora.jobs.grid_job import GridJob
from lib_lora.jobs.job import Progress
from lib_lora.jobs.queue import JobQueue
from lib_lora.models.base import GenerationRequest, Host
from lib_lora.tools.grid_spec import Candidate, GridSpec
from lib_lora.training.config import TrainConfig
from lib_lora.training.run import Run
from lib_lora.training.sample_prompts import SamplePrompt, parse_sample_prompts


class SweepGridJob(GridJob):
    """Compares the final files of ``runs``, which are trained before this job's turn comes."""

    kind = "sweep grid"

    def __init__(self, queue: JobQueue, runs: Sequence[Run], config: TrainConfig, folder: Path):
        spec = grid_settings(config, queue.host.literal)
        super().__init__(queue, f"Grid of the variants of {config.name}", spec, folder)
        self.runs = tuple(runs)

    @override
    def work(self, host: Host) -> Generator[Progress, None, Path]:
        finished = [run for run in self.runs if run.status == "finished" and Path(run.result()["path"]).is_file()]
        if not finished:
            raise UserError("None of the variants has finished", where=self.title, fix="Continue them under Runs")
        files = tuple(Candidate(run.sweep()["label"], Path(run.result()["path"])) for run in finished)
        self.spec = replace(self.spec, files=files)
        return (yield from super().work(host))


def grid_settings(config: TrainConfig, literal: Callable[[str], str] = str) -> GridSpec:
    """Prompts, size and steps of the sample prompts, else the trigger at the training's resolution; without files."""
    lines = parse_sample_prompts(config.sample_prompts, size=config.resolution)
    first, *_ = lines or [
        SamplePrompt(literal(config.trigger or config.name), width=config.resolution, height=config.resolution)
    ]
    settings = GenerationRequest(
        "", first.negative, first.width, first.height, first.steps, first.cfg, clip_skip=config.clip_skip
    )
    prompts = tuple(dict.fromkeys(line.prompt for line in lines)) or (first.prompt,)
    return GridSpec((), (1.0,), prompts, (first.seed,), settings)
