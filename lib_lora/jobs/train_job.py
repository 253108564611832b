"""A training run as a job: the borrowed model, the trainer, and sample pictures between steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib_lora.errors import Cancelled, UserError
from lib_lora.jobs.job import FAILED, STOPPED, Job, described, summary
from lib_lora.models.base import GenerationRequest, Host
from lib_lora.tools.pictures import save_png
from lib_lora.training.config import TrainConfig
from lib_lora.training.events import (
    EpochDone,
    Event,
    Failed,
    Finished,
    Preparing,
    Sampled,
    SampleDue,
    Saved,
    StepDone,
    Stopped,
    Warned,
)
from lib_lora.training.parallel import ALONE, Parallel
from lib_lora.training.requests import SAVE_AND_STOP, STOP, Requests
from lib_lora.training.resting import Resting
from lib_lora.training.run import Run
from lib_lora.training.sample_prompts import SamplePrompt, parse_sample_prompts
from lib_lora.training.session import Session
from lib_lora.training.trainer import Trainer


class TrainJob(Job):
    """Trains ``run`` to its end, or continues it."""

    kind = "train"

    def __init__(self, run: Run, parallel: Parallel = ALONE):
        self.run = run
        self.parallel = parallel
        self.config = run.config()
        super().__init__(self.config.name)
        self.trainer: Trainer | None = None
        self.requests = Requests()
        self._resting = Resting()

    def change(self, config: TrainConfig) -> None:
        """Other settings for a run that has not begun; call it while the queue keeps the job waiting."""
        self.run.write_config(config)
        self.config, self.title = config, config.name

    def work(self, host: Host) -> Iterator[Any]:
        self._load_model(host)
        with host.training_session() as model:
            self.trainer = Trainer(self.run, model, host.paths, self.requests, self.parallel)
            for event in self.trainer.run():
                self._note(event)
                yield event
                if isinstance(event, SampleDue) and self.config.sample_prompts.strip() and self.parallel.leads:
                    yield from self._noted(self._sample(host, event))
                if isinstance(event, (EpochDone, Saved, Finished)):
                    yield from self._noted(_refreshed(host))
        return str(self.trainer.last_saved) if self.trainer.last_saved else None

    def step_aside(self) -> None:
        self._switch(False)

    def step_back(self) -> None:
        self._resting.call_back()
        self._switch(True)

    def rest(self) -> None:
        if (session := self._session()) is not None:
            self._resting.send(session.held())

    def stop(self, *, save: bool) -> bool:
        if self._session() is None:
            return False  # no step was done yet, so there is nothing to save
        self.requests.add(SAVE_AND_STOP if save else STOP)
        return True

    def request(self, what: str) -> None:
        """``"save"``, ``"sample"`` or ``"backup"``, after the present step; also before training has begun.

        Raises:
            UserError: it has ended.
        """
        if not self.requests.add(what):
            raise UserError("This training has just ended", where=self.title, fix="Continue it under Runs")

    def data(self) -> dict[str, Any]:
        return {"run": self.run.id}

    def _session(self) -> Session | None:
        """While the network is on the model."""
        return self.trainer.session if self.trainer is not None else None

    def _switch(self, on: bool) -> None:
        if (session := self._session()) is not None:
            for network in session.networks:
                network.enabled = on

    def _load_model(self, host: Host) -> None:
        """The run's own checkpoint, if another one has been loaded since."""
        info = host.info()
        if self.config.model and (info is None or info.name != self.config.model):
            host.load(self.config.model)

    def _note(self, event: Event) -> None:
        if isinstance(event, Preparing):
            self.advance(event.done, event.total, event.what)
        elif isinstance(event, StepDone):
            loss = "" if event.loss is None else f", loss {event.loss:.3g}"
            self.advance(event.step, event.total, f"epoch {event.epoch}{loss}")
        elif isinstance(event, Warned) and self.parallel.leads:
            self.run.add_warning(event.message)
        elif isinstance(event, Stopped):
            self.outcome = STOPPED
        elif isinstance(event, Failed):
            self.outcome, self.error = FAILED, described(event.error)

    def _noted(self, extra: Iterator[Event]) -> Iterator[Event]:
        for event in extra:
            self._note(event)
            yield event

    def _sample(self, host: Host, due: SampleDue) -> Iterator[Event]:
        """Draw the sample prompts. No failure of the host, memory or disk included, gets out of here."""
        prompts = parse_sample_prompts(self.config.sample_prompts, size=self.config.resolution)
        requests = [_request(prompt, self.config.clip_skip) for prompt in prompts]
        paths: list[Path] = []
        problem = ""
        with (
            self.trainer.session.detached() as network
        ):  # to attach it again is no extra: without it nothing can be trained
            try:
                images = host.generate(requests, networks=(network,), cancelled=self._hurry)
                self.run.samples.mkdir(exist_ok=True)
                for index, image in enumerate(images):
                    path = self.run.samples / f"e{due.epoch:06d}_s{due.step:08d}_{index:02d}.png"
                    paths.append(save_png(image, path))
            except Cancelled:
                if self.cancel_requested:
                    raise
                problem = "training was stopped" if self.requests.stopping else "Interrupt was pressed in the web UI"
            except Exception as error:
                problem = summary(error)
        if problem:
            yield Warned(f"The sample images of step {due.step} were not drawn: {problem}")
        if paths:
            yield Sampled(due.epoch, due.step, tuple(paths))

    def _hurry(self) -> bool:
        return self.cancel_requested or self.requests.stopping


def _refreshed(host: Host) -> Iterator[Event]:
    """Have the host list its LoRA files again."""
    try:
        host.refresh_loras()
    except Exception as error:  # a web UI's own code; the file is there, and its Refresh button too
        yield Warned(f"The web UI's list of LoRAs could not be refreshed: {summary(error)}")


def _request(sample: SamplePrompt, clip_skip: int) -> GenerationRequest:
    return GenerationRequest(
        sample.prompt, sample.negative, sample.width, sample.height, sample.steps, sample.cfg, sample.seed,
        clip_skip=clip_skip,
    )  # fmt: skip
