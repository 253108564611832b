"""What the API can be asked for, as methods without anything of HTTP in them."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from typing_extensions import override

from lib_lora import bounds
from lib_lora.access import Access, admit, changes, looks
from lib_lora.api import bodies, views
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.errors import UserError
from lib_lora.jobs.grid_job import GridJob
from lib_lora.jobs.job import Progress
from lib_lora.jobs.merge_jobs import MergeJob
from lib_lora.jobs.views import PlainView
from lib_lora.lora_files import new_lora_path
from lib_lora.models.base import GenerationRequest, Host
from lib_lora.tools.convert import program_called
from lib_lora.tools.examples import examples_of
from lib_lora.tools.grid_spec import Candidate, GridSpec
from lib_lora.tools.influence import Shown, read_picture
from lib_lora.tools.inspection import look_at
from lib_lora.tools.made.prompts import as_caption
from lib_lora.tools.made.spec import PictureSpec
from lib_lora.tools.made.taking import usual_folder
from lib_lora.tools.merge import Reduction
from lib_lora.tools.model_card import CardText
from lib_lora.tools.publish import Publication, publish
from lib_lora.tools.taste.preference import EQUAL, FIRST, SECOND
from lib_lora.tools.taste.recipe import Recipe
from lib_lora.training.config import TrainConfig, settings
from lib_lora.training.config_file import config_from_dict
from lib_lora.training.presets import preset
from lib_lora.training.run import Run
from lib_lora.training.sample_prompts import parse_sample_prompts
from lib_lora.workbench import Workbench
from lib_lora.workbench.made import MadePictures
from lib_lora.workbench.revisit import find_influence, find_mixture, train_without
from lib_lora.workbench.sliders import SliderSpec, start_slider
from lib_lora.workbench.taste import TasteTuning

GRID_FOLDER = "grid"  # below a run's, as on the page

ANSWERS = {"first": FIRST, "second": SECOND, "equal": EQUAL}


class SavedMergeJob(MergeJob):
    """A merge that is written at once, where ``target`` says so; the result tells what was lost."""

    kind = "api merge"  # the page offers those of its own kind for saving

    def __init__(self, *args: Any, target: Path | None, **options: Any):
        super().__init__(*args, **options)
        self.target = target

    @override
    def work(self, host: Host) -> Generator[Progress, None, Any]:
        yield Progress(0, 0, "reading the files")
        merged = self.make(host)
        if self.target is not None:
            merged.save(self.target)
            host.refresh_loras()
        yield Progress(self.done, self.total)
        report = merged.report
        return {
            "saved": None if self.target is None else self.target.name,
            "rank": merged.rank,
            "error": report.total_error,
            "worst": {"layer": report.worst_layer, "error": report.worst_error},
            "warnings": report.warnings,
        }

    @override
    def view(self) -> PlainView:
        return PlainView(**self.common(), result=self.result)


class Services:
    """The workbench for strangers: what they name is checked, and answers are plain values for JSON."""

    def __init__(self, workbench: Workbench, access: Access):
        self.workbench = workbench
        self.access = access

    @looks
    def status(self) -> dict[str, Any]:
        """The loaded model, the jobs, and whether anything may be changed."""
        return views.status(self.workbench, read_only=self.access.read_only)

    @looks
    def job(self, job_id: int) -> dict[str, Any]:
        """How far a job is, and its result once it is done."""
        return views.job(self.workbench.queue.view(job_id))

    @looks
    def runs(self) -> dict[str, Any]:
        """All runs, the newest first."""
        return {"runs": [views.run_line(run) for run, _ in self.workbench.runs.with_config()]}

    @looks
    def run(self, run_id: str) -> dict[str, Any]:
        """A run with its settings, files and epochs."""
        return views.run_details(self.workbench, self._run(run_id))

    @changes
    def start(self, body: dict[str, Any]) -> dict[str, Any]:
        """Train, after what is in the queue."""
        wanted = bodies.read(bodies.Start, body)
        base = preset(wanted.preset).applied_to(TrainConfig()) if wanted.preset else TrainConfig()
        own = config_from_dict(wanted.settings, where="settings")
        values = {name: getattr(own if name in wanted.settings else base, name) for name in settings()}
        return self.job(self.workbench.start_training(TrainConfig(**values)))

    @changes
    def stop(self, body: dict[str, Any]) -> dict[str, Any]:
        """End a job after its present step."""
        wanted = bodies.read(bodies.Stop, body)
        current = self.workbench.queue.current()
        job_id = wanted.job or (current.id if current else 0)
        if not job_id:
            raise UserError("Nothing is running")
        self.workbench.queue.stop(job_id, save=wanted.save)
        return self.job(job_id)

    @changes
    def grid(self, body: dict[str, Any]) -> dict[str, Any]:
        """Pictures of a run's epochs at several weights; the job's result is the path of the sheet."""
        wanted = bodies.read(bodies.Grid, body)
        run = self._run(wanted.run)
        prompts = bodies.texts(wanted.prompts, "prompts") or _own_prompts(run.config())
        spec = GridSpec(
            self._candidates(run, bodies.numbers(wanted.epochs, int, "epochs")),
            bodies.numbers(wanted.weights, float, "weights"),
            prompts,
            bodies.numbers(wanted.seeds, int, "seeds"),
            self._generation(wanted),
        )
        spec.check()
        queue = self.workbench.queue
        job_id = queue.submit(GridJob(queue, f"Grid of {run.config().name}", spec, run.folder / GRID_FOLDER))
        return self.job(job_id)

    @changes
    def merge(self, body: dict[str, Any]) -> dict[str, Any]:
        """Add and subtract LoRAs, resize one, or convert it for a program."""
        wanted = bodies.read(bodies.Merge, body)
        bounds.check_number(wanted.rank, "rank", *bounds.RANK)
        bounds.check_number(wanted.energy, "energy", 0, 1)
        bounds.check_text(wanted.formula, "formula", bounds.FORMULA)
        host, queue = self.workbench.host, self.workbench.queue
        if wanted.base:
            host.checkpoint_path(wanted.base)
        if wanted.program:
            program_called(wanted.program, where="program")
        target = new_lora_path(wanted.save, host.paths.loras) if wanted.save else None
        presets, reduction = host.paths.places.block_presets, Reduction(wanted.rank or None, wanted.energy or None)
        job = SavedMergeJob(
            queue, wanted.formula, reduction, presets, wanted.base, program=wanted.program, target=target
        )
        return self.job(queue.submit(job))

    @looks
    def loras(self) -> dict[str, Any]:
        """The names in the LoRA folders."""
        return {"loras": [entry.name for entry in self.workbench.list_loras()]}

    @looks
    def lora(self, name: str) -> dict[str, Any]:
        """What the header of a LoRA file and the card beside it say."""
        return views.lora(look_at(self.workbench.lora_path(name)))

    @changes
    def publish(self, body: dict[str, Any]) -> dict[str, Any]:
        """Write a folder or zip that others can take; answers with its name among the published."""
        wanted = bodies.read(bodies.Publish, body)
        path, folder = self.workbench.lora_path(wanted.lora), self.workbench.host.paths.places.published
        found = examples_of(path, self.workbench.runs)
        trigger = wanted.trigger or look_at(path).trigger
        text = CardText(
            wanted.name or path.stem, trigger, wanted.weight, wanted.description, wanted.licence, wanted.base_model
        )
        pictures = found.pictures[: found.usual]
        made = publish(path, folder, Publication(text, pictures, found.sheet, wanted.zip), found.run)
        return {"published": made.name, "pictures": len(pictures)}

    @looks
    def tasted(self, name: str) -> dict[str, Any]:
        """The tuning of a LoRA: what is asked, and the best by now."""
        tuning = self._tuning(name)
        session = tuning.session()
        if session is None:
            raise UserError("This LoRA is not tuned yet", where=name, fix="POST taste begins")
        return views.taste(tuning, session)

    @changes
    def taste(self, body: dict[str, Any]) -> dict[str, Any]:
        """Begin to tune by taste; an earlier tuning of the LoRA stays on disk."""
        wanted = bodies.read(bodies.Taste, body)
        tuning = self._tuning(wanted.lora)
        bounds.check_text(wanted.blocks, "blocks")
        bounds.check_text(wanted.subtract_blocks, "subtract_blocks")
        recipe = Recipe(
            tuning.name, wanted.weight, wanted.blocks, wanted.subtract,
            wanted.subtract_blocks if wanted.subtract else "", wanted.locked, wanted.tune_weight,
            bodies.texts(wanted.prompts, "prompts"), bodies.numbers(wanted.seeds, int, "seeds"), wanted.pictures,
            self._generation(wanted),
        )  # fmt: skip
        return views.taste(tuning, tuning.start(recipe))

    @changes
    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Say which side of a question is better, or take the last answer back."""
        wanted = bodies.read(bodies.Answer, body)
        tuning = self._tuning(wanted.lora)
        if wanted.better == "undo":
            return views.taste(tuning, tuning.undo())
        if wanted.better not in ANSWERS:
            raise UserError("There is no such answer", where="better", fix=f"Use {', '.join(ANSWERS)} or undo")
        return views.taste(tuning, tuning.answer(wanted.question, ANSWERS[wanted.better]))

    @looks
    def made(self, name: str) -> dict[str, Any]:
        """The pictures of a drawing, and what was said of each."""
        return views.made(MadePictures(self.workbench, name))

    @changes
    def generate(self, body: dict[str, Any]) -> dict[str, Any]:
        """Draw pictures that are to be trained on."""
        wanted = bodies.read(bodies.Generate, body)
        prompts = tuple(map(as_caption, bodies.texts(wanted.prompts, "prompts")))
        spec = PictureSpec(
            prompts, wanted.count, self._generation(wanted), wanted.seed, wanted.loras, wanted.before, wanted.trigger
        )
        host = self.workbench.host
        checkpoint = wanted.checkpoint or (host.info() or host.ensure_loaded()).name
        host.checkpoint_path(checkpoint)
        return self.job(MadePictures(self.workbench, wanted.name).generate(checkpoint, spec))

    @changes
    def keep(self, body: dict[str, Any]) -> dict[str, Any]:
        """Keep a drawn picture, leave it, or take the last answer back."""
        wanted = bodies.read(bodies.Keep, body)
        made = MadePictures(self.workbench, wanted.name)
        if wanted.answer == "undo":
            made.undo()
        elif wanted.answer in ("keep", "leave"):
            made.answer(wanted.picture, wanted.answer == "keep")
        else:
            raise UserError("There is no such answer", where="answer", fix="Use keep, leave or undo")
        return views.made(made)

    @changes
    def take(self, body: dict[str, Any]) -> dict[str, Any]:
        """Copy the kept pictures into a set, as one step of its history."""
        wanted = bodies.read(bodies.Take, body)
        admit(wanted.set, "set")
        root = Path(wanted.set)
        if not root.is_dir():
            raise UserError("There is no such folder", where="set", fix="Give the folder of the set")
        made = MadePictures(self.workbench, wanted.name)
        change = made.plan(root, wanted.folder or usual_folder(root, made.name))
        DatasetEditor([root], self.workbench.host.paths.places.dataset).apply(change)
        return {"added": change.counts.get("pictures added", 0), "notes": list(change.notes)}

    @changes
    def slider(self, body: dict[str, Any]) -> dict[str, Any]:
        """Train a slider; the job draws its pictures first."""
        wanted = bodies.read(bodies.Slider, body)
        spec = SliderSpec(
            wanted.name, wanted.more, wanted.less, bodies.texts(wanted.prompts, "prompts"), wanted.pictures,
            wanted.before, wanted.after, wanted.training_steps, wanted.strength, wanted.rank, self._generation(wanted),
        )  # fmt: skip
        return self.job(start_slider(self.workbench, spec))

    @changes
    def mixture(self, body: dict[str, Any]) -> dict[str, Any]:
        """The mixture of a run's epochs with the lowest loss on held-out pictures; the job's result tells it."""
        wanted = bodies.read(bodies.Mixture, body)
        return self.job(find_mixture(self.workbench, self._run(wanted.run).id, wanted.pictures))

    @changes
    def influence(self, body: dict[str, Any]) -> dict[str, Any]:
        """Which training pictures made a generated picture as it is; the job's result ranks them."""
        wanted = bodies.read(bodies.Influence, body)
        shown = []
        for path in (wanted.image, *bodies.texts(wanted.right, "right")):
            admit(path, "image")
            shown.append(Shown(read_picture(Path(path)), wanted.prompt))
        run, about = self._run(wanted.run).id, Path(wanted.image).name
        return self.job(find_influence(self.workbench, run, shown[:1], about, shown[1:]))

    @changes
    def without(self, body: dict[str, Any]) -> dict[str, Any]:
        """Train a run again; all but what is left out stays as it is."""
        wanted = bodies.read(bodies.Without, body)
        run = self._run(wanted.run)
        folder = Path(run.config().data_dir)
        pictures = [folder / name for name in bodies.texts(wanted.pictures, "pictures")]
        return self.job(train_without(self.workbench, run.id, pictures))

    # -- small parts --------------------------------------------------------------------------------------------------

    def _tuning(self, name: str) -> TasteTuning:
        self.workbench.lora_path(name)  # an error where there is none
        return TasteTuning(self.workbench, name)

    def _run(self, run_id: str) -> Run:
        for run in self.workbench.runs.list():  # so that an id can be nothing but a name
            if run.id == run_id:
                return run
        raise UserError("There is no such run", where=run_id, fix="GET runs lists them")

    def _candidates(self, run: Run, epochs: tuple[int, ...]) -> tuple[Candidate, ...]:
        saved = {e.epoch: e.path for e in self.workbench.epoch_files(run.id)}
        if missing := [epoch for epoch in epochs if epoch not in saved]:
            fix = f"Saved are {', '.join(map(str, saved)) or 'none'}"
            raise UserError(f"Epoch {missing[0]} has no LoRA file", where="epochs", fix=fix)
        return tuple(Candidate(f"e{epoch}", saved[epoch]) for epoch in epochs or saved)

    def _generation(self, wanted: bodies.Drawing) -> GenerationRequest:
        samplers = self.workbench.host.samplers()
        sampler = wanted.sampler or samplers[0]
        if sampler not in samplers:
            raise UserError("There is no such sampler", where="sampler", fix=f"Use {', '.join(samplers)}")
        return GenerationRequest(
            "", wanted.negative, wanted.width, wanted.height, wanted.steps, wanted.cfg, 0, sampler, wanted.clip_skip
        )


def _own_prompts(config: TrainConfig) -> tuple[str, ...]:
    prompts = tuple(sample.prompt for sample in parse_sample_prompts(config.sample_prompts, size=config.resolution))
    return prompts or (config.trigger or config.name,)
