"""The command line. Whatever takes long to import is imported by the command that needs it, so that help is fast."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lib_lora.places import Places

from . import __version__
from .cli_made import add_commands as add_made_commands
from .cli_made import size
from .cli_revisit import add_revisit_commands
from .cli_train import EXIT_INTERRUPTED, add_train_commands
from .errors import Cancelled, UserError

if TYPE_CHECKING:
    from .hosts.standalone.host import StandaloneHost
    from .tools.grid_spec import Candidate
    from .workbench import Workbench

ROOT = Path(__file__).resolve().parents[1]
MINIATURE = "miniature"
BENCHMARKS = (
    "step", "step_types", "step_loop", "merge", "grid", "start", "dataset", "faults", "taste", "card", "page", "clicks",
    "truth", "slider", "mixture", "influence", "options",
)  # fmt: skip
EXIT_USER_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for what the user can mend, 130 when interrupted."""
    sys.stdout.reconfigure(errors="replace")  # consoles that cannot show a letter shall not end a training
    args = parser().parse_args(argv)
    try:
        return args.run(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except (KeyboardInterrupt, Cancelled):
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    from .demo.recipe.cli import add_arguments
    from .tools import cli_publish
    from .tools.cli import add_commands

    top = argparse.ArgumentParser(prog="python -m lib_lora", description="Train, compare, tune and merge LoRAs.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(metavar="command", required=True)
    model = _model_options()
    _add_serve(commands.add_parser("serve", parents=[model], help="open the tabs in the browser, on this machine"))
    add_train_commands(commands, model, _data_options(), make_host)
    _add_grid(commands.add_parser("grid", parents=[model], help="the same prompts for several LoRA files and weights"))
    add_revisit_commands(commands, model, make_host)
    add_commands(commands, [_data_options()])
    cli_publish.add_commands(commands, [_data_options()])
    add_made_commands(commands, model, make_host)
    _add_tour(commands.add_parser("tour", parents=[model], help="a character, its epochs and a merge in minutes"))
    bench_command = commands.add_parser("bench", help="measure; the last line is JSON")
    bench_command.add_argument("name", choices=BENCHMARKS)
    bench_command.add_argument("claim", nargs="?", default="", help="of truth: one claim of docs/truth.md")
    bench_command.set_defaults(run=bench)
    add_arguments(commands.add_parser("demo", help="how the miniature model was made, and how good it is"))
    return top


def _data_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--data", type=Path, default=ROOT / "data", metavar="FOLDER",
                         help="LoRAs, runs, caches and checkpoints (default: %(default)s)")  # fmt: skip
    return options


def _model_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False, parents=[_data_options()])
    options.add_argument("--checkpoints", type=Path, action="append", default=[], metavar="FOLDER",
                         help="another folder with checkpoints; may be given several times")  # fmt: skip
    options.add_argument("--model", default=MINIATURE, metavar="NAME", help="checkpoint to load (default: %(default)s)")
    options.add_argument("--weights-in", choices=("float32", "float16", "bfloat16"),
                         help="precision of the checkpoint (default: float16 on a GPU, else float32)")  # fmt: skip
    return options


def _add_serve(command: argparse.ArgumentParser) -> None:
    command.add_argument("--address", default="127.0.0.1", help="0.0.0.0 lets others in (default: %(default)s)")
    command.add_argument("--port", type=int, default=7861, help="the first one tried (default: %(default)s)")
    command.set_defaults(run=serve)


def _add_grid(command: argparse.ArgumentParser) -> None:
    files = command.add_mutually_exclusive_group(required=True)
    files.add_argument("--training", metavar="RUN", help="id of a run: its epochs are the columns")
    files.add_argument("--lora", action="append", metavar="NAME", help="a column; may be given several times")
    command.add_argument("--epochs", type=_numbers(int), default=(), metavar="1,2,3", help="of the run (default: all)")
    command.add_argument("--weights", type=_numbers(float), default=(0.6, 0.8, 1.0), metavar="0.6,0.8,1")
    command.add_argument("--prompt", action="append", required=True, help="may be given several times")
    command.add_argument("--seeds", type=_numbers(int), default=(1,), metavar="1,2")
    command.add_argument("--negative", default="")
    command.add_argument("--size", type=size, default=(512, 512), metavar="WxH")
    command.add_argument("--steps", type=int, default=20)
    command.add_argument("--cfg", type=float, default=7.0)
    command.add_argument("--sampler", default="DPM++ 2M Karras")
    command.add_argument("--output", type=Path, metavar="FOLDER", help="default: grids/NAME among the data")
    command.set_defaults(run=grid)


def _add_tour(command: argparse.ArgumentParser) -> None:
    command.add_argument("--output", type=Path, metavar="FOLDER",
                         help="for pictures and table (default: tour in the data)")  # fmt: skip
    command.set_defaults(run=tour)


# -- the commands -----------------------------------------------------------------------------------------------------


def serve(args: argparse.Namespace) -> int:
    """The tabs, until they are stopped."""
    from .cli_train import Signals, until_told_to_end
    from .ui.app import serve as serve_tabs
    from .workbench import Workbench

    with Signals() as signals:
        workbench = Workbench(make_host(args))
        server = serve_tabs(workbench, args.port, host=args.address)
        until_told_to_end(workbench.queue, signals)
        server.close()
    return 0


def grid(args: argparse.Namespace) -> int:
    """Make a grid and print where it is."""
    from lib_lora.models.base import GenerationRequest

    from .tools.grid import make_grid, read_grid
    from .tools.grid_spec import GridSpec
    from .workbench import Workbench

    workbench = Workbench(make_host(args))
    width, height = args.size
    settings = GenerationRequest("", args.negative, width, height, args.steps, args.cfg, sampler=args.sampler)
    spec = GridSpec(_columns(workbench, args), args.weights, tuple(args.prompt), args.seeds, settings)
    folder = args.output or Places(args.data).grids / (args.training or "-".join(args.lora))
    for cell in make_grid(workbench.host, spec, folder):
        print(f"{cell.done}/{cell.total}  {cell.cell.file.label} × {cell.cell.weight:g}  {cell.path}", flush=True)
    for remark in read_grid(folder).get("remarks", []):
        print(remark)
    print(folder / "grid.png")
    return 0


def tour(args: argparse.Namespace) -> int:
    """The whole path on the miniature."""
    from .demo.tour import run

    run(make_host(args), args.output)
    return 0


def bench(args: argparse.Namespace) -> int:
    """Run one measurement of ``bench/`` and print its result."""
    if not (ROOT / "bench").is_dir():
        raise UserError("The measurements are not installed", where=ROOT / "bench", fix="Run this in a checkout.")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    try:
        measurement = importlib.import_module(f"bench.{args.name}")
        result = measurement.run(args.claim) if args.name == "truth" else measurement.run()
    except ModuleNotFoundError as error:  # some are compared with, and imported when their turn comes
        fix = f"pip install {error.name}"
        raise UserError("This measurement needs a package", where=error.name, fix=fix) from error
    print(json.dumps(result))
    return 0


# -- small parts ------------------------------------------------------------------------------------------------------


def make_host(args: argparse.Namespace, model: str | None = None) -> StandaloneHost:
    """The standalone host on the folders that the options name, with ``model`` or else ``args.model`` loaded."""
    import torch

    from lib_lora.models.base import HostPaths

    from .demo import CHECKPOINT, FLOW
    from .hosts.standalone.host import StandaloneHost

    data = args.data.resolve()
    paths = HostPaths(data / "loras", data / "checkpoints", data / "runs", data)
    dtype = getattr(torch, args.weights_in) if args.weights_in else None
    host = StandaloneHost(paths, [*args.checkpoints, CHECKPOINT], dtype=dtype)
    model = model or args.model
    if model == FLOW:
        from .demo.flow import write_flow

        write_flow(paths.checkpoints)
    host.load(model)
    return host


def _columns(workbench: Workbench, args: argparse.Namespace) -> tuple[Candidate, ...]:
    from lib_lora.lora_files import find_lora

    from .tools.grid_spec import Candidate

    if args.lora:
        return tuple(Candidate(name, find_lora(name, workbench.host.paths.lora_folders)) for name in args.lora)
    files = workbench.epoch_files(args.training)
    return tuple(Candidate(f"e{f.epoch}", f.path) for f in files if not args.epochs or f.epoch in args.epochs)


def _numbers(kind: type) -> Callable[[str], tuple]:
    def read(text: str) -> tuple:
        return tuple(kind(part) for part in text.split(","))

    read.__name__ = f"list of {kind.__name__}"  # argparse names it when the text does not fit
    return read
