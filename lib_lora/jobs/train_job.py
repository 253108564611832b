"""A training run as a job: the borrowed model, the trainer, and sample pictures between steps."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from typing_extensions import override

from lib_lora.errors import Cancelled, UserError
from lib_lora.jobs.job import Job, described, summary
from lib_lora.jobs.views import FAILED, PREPARING, SAMPLING, STOPPED, TRAINING, TrainView
from lib_lora.models.base import GenerationRequest, Host, LoadedModel
from lib_lora.ownership import Claim
from lib_lora.tools.made.drawing import generate_dataset, to_be_drawn
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
from lib_lora.training.own_presets import PERSONAL
from lib_lora.training.parallel import ALONE, Parallel
from lib_lora.training.requests import SAVE_AND_STOP, STOP, Requests
from lib_lora.training.resting import Resting
from lib_lora.training.run import Run
from lib_lora.training.sample_prompts import SamplePrompt, parse_sample_prompts
from lib_lora.training.session import Session
from lib_lora.training.trainer import Trainer

ENDING = ", measuring and saving the epoch"
PRIVATE = {
    *PERSONAL,
    "reg_dir",
    "mask_dir",
    "sample_prompts",
    "caption_prefix",
    "caption_suffix",
    "preserve_class",
    "slider_more",
    "slider_less",
    "slider_after",
}


class TrainJob(Job):
    """Trains ``run`` to its end, or continues it.

    Args:
        claims: what it owns until its end: its name, then its run.
        parallel: this process's place, if several train together.
    """

    kind = "train"

    def __init__(self, run: Run, claims: Sequence[Claim] = (), parallel: Parallel = ALONE):
        self.run = run
        self.claims = list(claims)
        self.parallel = parallel
        self.config = run.config()
        super().__init__(self.config.name)
        self.trainer: Trainer | None = None
        self.requests = Requests()
        self.phase, self.epoch = PREPARING, 0
        self.loss: float | None = None
        self.saved: Path | None = None
        self._resting = Resting()
        self._paused = False

    def change(self, config: TrainConfig, name: Claim | None = None) -> None:
        """Other settings for a run that has not begun; call it while the queue keeps the job waiting.

        Args:
            name: the claim to the name, where that is another one.
        """
        self.run.write_config(config)
        self.config, self.title = config, config.name
        if name is not None:
            self.claims[0].release()
            self.claims[0] = name

    @override
    def close(self) -> None:
        for claim in self.claims:
            claim.release()

    @override
    def work(self, host: Host) -> Generator[Event, None, None]:
        try:
            load_model_of(self.config, host)
            yield from self._noted(self._draw_missing(host))
            with host.training_session() as model:
                yield from self._train(host, model)
        except Cancelled:
            raise
        except Exception as error:
            if self.parallel.leads and not self.run.has_begun:  # nobody else notes it; later on the trainer does
                self.run.set_result("failed", 0, None, str(error))
            raise
        finally:
            self.trainer = None  # with network, optimizer and batches

    def _train(self, host: Host, model: LoadedModel) -> Iterator[Event]:
        self.trainer = Trainer(self.run, model, host.paths, self.requests, self.parallel)
        with closing(self.trainer.run()) as events:  # off the model before the host gets it back
            for event in events:
                self._note(event)
                yield event
                if isinstance(event, SampleDue) and self.config.sample_prompts.strip() and self.parallel.leads:
                    yield from self._noted(self._sample(host, event))
                if isinstance(event, (EpochDone, Saved, Finished)):
                    yield from self._noted(_refreshed(host))

    def _draw_missing(self, host: Host) -> Iterator[Event]:
        """The pictures that a slider from words is learned on."""
        folder = Path(self.config.data_dir)
        spec = to_be_drawn(folder) if self.config.is_slider else None
        if spec is None:
            return
        yield Preparing("Drawing pictures", 0, spec.count)
        for made in generate_dataset(host, spec, folder, lambda: self.cancel_requested):
            yield Preparing("Drawing pictures", made.done, made.total)

    @override
    def step_aside(self) -> None:
        self._switch(False)

    @override
    def step_back(self) -> None:
        if self._paused:
            self._paused = False
            self.run.add_pause(self._step, paused=False)
        self._resting.call_back()
        self._switch(True)

    @override
    def rest(self) -> None:
        self._paused = True
        self.run.add_pause(self._step, paused=True)
        if (session := self._session()) is not None:
            self._resting.send(session.held())

    @override
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

    @override
    def view(self) -> TrainView:
        return TrainView(
            **self.common(), run=self.run.id, phase=self.phase, epoch=self.epoch, epochs=self.config.epochs,
            loss=self.loss, saved=self.saved,
        )  # fmt: skip

    def _session(self) -> Session | None:
        """While the network is on the model."""
        return self.trainer.session if self.trainer is not None else None

    @property
    def _step(self) -> int:
        return 0 if self.phase == PREPARING else self.done

    def _switch(self, on: bool) -> None:
        if (session := self._session()) is not None:
            for network in session.networks:
                network.enabled = on

    @override
    def facts(self) -> dict[str, str]:
        chosen, usual = asdict(self.config), asdict(TrainConfig())
        changed = (f"{key} = {value!r}" for key, value in chosen.items() if value != usual[key] and key not in PRIVATE)
        return {"Settings": ", ".join(changed)}

    def _note(self, event: Event) -> None:
        if isinstance(event, Preparing):
            self.advance(event.done, event.total, event.what)
        elif isinstance(event, StepDone):
            self.phase, self.epoch, self.loss = TRAINING, event.epoch, event.loss
            loss = "" if event.loss is None else f", loss {event.loss:.3g}"
            self.advance(event.step, event.total, f"epoch {event.epoch}{loss}")
            session = self._session()
            if session is not None and (event.step == event.total or event.step % session.data.steps_per_epoch == 0):
                self.note += ENDING  # on a CPU that takes as long as many steps
        elif isinstance(event, (Saved, Finished)):
            self.saved = event.path
        elif isinstance(event, EpochDone):
            self.saved = event.lora_path or self.saved
            self.note = self.note.removesuffix(ENDING)
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
        session = self._session()
        assert session is not None, "samples are drawn between two steps"
        doing, self.phase = self.note, SAMPLING
        if due.step:
            self.note = f"epoch {due.epoch}, drawing samples"
        else:  # what was prepared is counted no longer
            self.advance(0, session.data.total, "drawing samples")
        with session.detached() as network:  # to attach it again is no extra: nothing trains without it
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
        self.phase, self.note = TRAINING, doing if due.step else ""
        if problem:
            yield Warned(f"The sample images of step {due.step} were not drawn: {problem}")
        if paths:
            yield Sampled(due.epoch, due.step, tuple(paths))

    def _hurry(self) -> bool:
        return self.cancel_requested or self.requests.stopping


def load_model_of(config: TrainConfig, host: Host) -> None:
    """The run's own checkpoint, if another one has been loaded since."""
    info = host.info()
    if config.model and (info is None or info.name != config.model):
        host.load(config.model)


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
