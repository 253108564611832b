"""What can be asked of a run afterwards, on the command line: ``mix`` and ``why``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError

if TYPE_CHECKING:
    from .jobs.views import JobView
    from .workbench import Workbench


def add_revisit_commands(commands: Any, model: argparse.ArgumentParser, host: Callable[..., Any]) -> None:
    """Add the commands.

    Args:
        model: options of the commands that need a model.
        host: makes the host of the options, with a checkpoint of that name loaded.
    """
    command = commands.add_parser("mix", parents=[model], help="the best mixture of a run's epochs")
    command.add_argument("training", metavar="RUN", help="id of a run; see runs")
    command.add_argument("--pictures", type=Path, metavar="FOLDER",
                         help="held-out pictures with captions (default: those that the run held out)")  # fmt: skip
    command.add_argument("--rank", type=int, metavar="N", help="reduce it to this rank (default: the exact sum)")
    command.add_argument("--save", metavar="NAME", help="write it among the LoRAs; without, it is only told")
    command.set_defaults(run=partial(mix, host))
    command = commands.add_parser("why", parents=[model], help="which training pictures made a picture as it is")
    command.add_argument("training", metavar="RUN", help="id of the run whose LoRA drew it")
    command.add_argument("--picture", type=Path, action="append", required=True, metavar="FILE",
                         help="a generated picture; several that show the same fault say more")  # fmt: skip
    command.add_argument("--right", type=Path, action="append", default=[], metavar="FILE",
                         help="a generated picture without the fault; several say more")  # fmt: skip
    command.add_argument("--prompt", required=True, help="that it was asked for by")
    command.set_defaults(run=partial(why, host))


def mix(make_host: Callable[..., Any], args: argparse.Namespace) -> int:
    """Look for it, tell it, and perhaps write it."""
    from lib_lora.lora_files import new_lora_path
    from lib_lora.tools.merge import merge, report
    from lib_lora.workbench.revisit import find_mixture, mixture_formula, mixture_of

    workbench, run = _opened(make_host, args)
    target = None if args.save is None else new_lora_path(args.save, workbench.host.paths.loras)
    _waited(workbench, find_mixture(workbench, args.training, str(args.pictures or "")))
    found = mixture_of(run)
    assert found is not None
    formula = mixture_formula(workbench, args.training)
    print(f"best epoch {found.best}: loss {found.best_loss:.5f}")
    print(f"best mixture {formula}: loss {found.loss:.5f}")
    print(f"gain on pictures that had no part in choosing it: {found.gain:.5f} ± {found.error:.5f}")
    if target is not None:
        merged = merge(formula, workbench.host.paths.lora_folders, rank=args.rank)
        merged.save(target)
        print(f"{report(merged)}\nsaved {target}")
    return 0


def why(make_host: Callable[..., Any], args: argparse.Namespace) -> int:
    """The training pictures, the most influential first."""
    from lib_lora.jobs.views import InfluenceView
    from lib_lora.tools.influence import Shown, read_picture
    from lib_lora.workbench.revisit import find_influence

    workbench, _ = _opened(make_host, args)
    wrong, right = ([Shown(read_picture(path), args.prompt) for path in some] for some in (args.picture, args.right))
    view = _waited(workbench, find_influence(workbench, args.training, wrong, args.picture[0].name, right))
    assert isinstance(view, InfluenceView)
    for one in view.found:
        print(f"{one.score:+.3f}  {view.name_of(one)}")
    return 0


def _opened(make_host: Callable[..., Any], args: argparse.Namespace) -> tuple[Workbench, Any]:
    """The workbench with the run's model, and the run."""
    from lib_lora.training.run_store import RunStore
    from lib_lora.workbench import Workbench

    model = RunStore(args.data / "runs").open(args.training).config().model
    workbench = Workbench(make_host(args, model))
    return workbench, workbench.runs.open(args.training)


def _waited(workbench: Workbench, job_id: int) -> JobView:
    """The job when it has ended; UserError if it failed."""
    shown = ""
    while not (view := workbench.queue.wait(job_id, timeout=0.5)).ended:
        line = f"{view.done}/{view.total}  {view.note}"
        if line != shown and view.total:
            print(line, flush=True)
        shown = line
    if view.error:
        raise UserError(view.error["what"], where=view.error["where"] or None, fix=view.error["fix"] or None)
    return view
