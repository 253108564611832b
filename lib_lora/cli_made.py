"""``generate`` and ``slider`` on the command line. What takes long to import is imported by the command that runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib_lora.errors import UserError

if TYPE_CHECKING:
    from lib_lora.models.base import GenerationRequest

MakeHost = Callable[[argparse.Namespace], Any]


def add_commands(commands: Any, model: argparse.ArgumentParser, make_host: MakeHost) -> None:
    """Add ``generate`` and ``slider``; ``model`` gives the options of checkpoint and data."""
    command = commands.add_parser("generate", parents=[model], help="pictures that are to be trained on, by LoRAs")
    command.add_argument("name", help="of the drawing; the same again goes on with what is missing")
    command.add_argument("--prompt", action="append", required=True, help="a caption; several are used in turn")
    command.add_argument("--lora", default="", metavar="NAME:weight,…", help="that draw (default: none)")
    command.add_argument("--trigger", default="", help="first in each prompt and caption")
    command.add_argument("--before", default="", help="before each prompt, in no caption")
    command.add_argument("--count", type=int, default=24)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--into", type=Path, metavar="SET", help="take all that are not set aside into this set")
    _add_drawing(command)
    command.set_defaults(run=partial(generate, make_host))
    command = commands.add_parser("slider", parents=[model], help="a LoRA that goes both ways, such as smile and frown")
    command.add_argument("name", help="of the LoRA")
    command.add_argument("--more", default="", metavar="TAGS", help="at a positive weight")
    command.add_argument("--less", default="", metavar="TAGS", help="at a negative one (default: without the above)")
    command.add_argument("--prompt", action="append", default=[], help="what it is learned on, and held; several")
    command.add_argument("--pictures", type=int, default=24, help="that are drawn for it (default: %(default)s)")
    command.add_argument("--before", default="", metavar="FOLDER", help="pairs of pictures instead of tags")
    command.add_argument("--after", default="", metavar="FOLDER", help="of the same names")
    command.add_argument("--training-steps", type=int, default=200)
    command.add_argument("--strength", type=float, default=1.0, help="of weight 1 (default: %(default)s)")
    command.add_argument("--rank", type=int, default=4)
    _add_drawing(command)
    command.set_defaults(run=partial(slider, make_host))


def generate(make_host: MakeHost, args: argparse.Namespace) -> int:
    """Draw, say what was set aside, and perhaps take them into a set."""
    from .dataset.editor import DatasetEditor
    from .jobs.picture_job import PictureJob
    from .tools.made.prompts import as_caption
    from .tools.made.spec import PictureSpec
    from .tools.made.taking import usual_folder
    from .workbench import Workbench
    from .workbench.made import MadePictures

    workbench = Workbench(make_host(args))
    host, made = workbench.host, MadePictures(workbench, args.name)
    prompts = tuple(map(as_caption, args.prompt))
    spec = PictureSpec(prompts, args.count, _settings(args), args.seed, args.lora, args.before, args.trigger)
    beside = [args.into] if args.into else []
    for progress in PictureJob(workbench.queue, args.name, args.model, spec.check(), made.folder, beside).work(host):
        print(f"{progress.done}/{progress.total}  {progress.note}", flush=True)
    pictures = made.pictures()
    for drawn in pictures:
        if drawn.aside:
            print(f"set aside: {drawn.name}, {drawn.aside}")
    if args.into:
        for drawn in pictures:
            if not drawn.aside and drawn.kept is None:
                made.answer(drawn.name, True)
        change = made.plan(args.into, usual_folder(args.into, args.name))
        DatasetEditor([args.into], host.paths.places.dataset).apply(change)
        print(f"{change.counts['pictures added']} pictures added to {args.into}")
    print(made.folder)
    return 0


def slider(make_host: MakeHost, args: argparse.Namespace) -> int:
    """Draw its pictures and train it."""
    from .cli_train import Signals, follow
    from .jobs.views import DONE
    from .workbench import Workbench
    from .workbench.sliders import SliderSpec, start_slider

    with Signals() as signals:
        workbench = Workbench(make_host(args))
        spec = SliderSpec(
            args.name, args.more, args.less, tuple(args.prompt), args.pictures, args.before, args.after,
            args.training_steps, args.strength, args.rank, _settings(args),
        )  # fmt: skip
        view = follow(workbench, start_slider(workbench, spec), signals)
    if view.error:
        raise UserError(view.error["what"], where=view.error["where"] or None, fix=view.error["fix"] or None)
    print(f"saved {view.plain()}; weights from -3 to 3" if view.state == DONE else f"train --resume {view.run} goes on")
    return 0


def _add_drawing(command: argparse.ArgumentParser) -> None:
    command.add_argument("--negative", default="")
    command.add_argument("--size", type=size, default=(512, 512), metavar="WxH")
    command.add_argument("--steps", type=int, default=20)
    command.add_argument("--cfg", type=float, default=7.0)
    command.add_argument("--sampler", default="DPM++ 2M Karras")


def _settings(args: argparse.Namespace) -> GenerationRequest:
    from .models.base import GenerationRequest

    width, height = args.size
    return GenerationRequest("", args.negative, width, height, args.steps, args.cfg, sampler=args.sampler)


def size(text: str) -> tuple[int, int]:
    """``512x768`` as width and height."""
    width, height = text.lower().split("x")
    return int(width), int(height)
