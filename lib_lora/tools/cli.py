"""Merge, resize and extract on the command line. What takes long to import is imported by the command that runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib_lora.places import Places

from ..errors import UserError

if TYPE_CHECKING:
    from ..adapters.merged import Merged

PRECISIONS = ("float16", "bfloat16", "float32")


def add_commands(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add ``merge``, ``resize``, ``convert`` and ``extract``; ``parents`` give the option ``--data``."""
    _add_merge(commands.add_parser("merge", parents=parents, help="add and subtract LoRAs by a formula"))
    _add_resize(commands.add_parser("resize", parents=parents, help="another rank, or any algorithm as LoRA"))
    _add_convert(commands.add_parser("convert", parents=parents, help="a file with such layers as a program applies"))
    _add_extract(commands.add_parser("extract", parents=parents, help="a LoRA from two checkpoints' difference"))


def _add_merge(command: argparse.ArgumentParser) -> None:
    command.add_argument("formula", help="NAME:weight:BLOCKS,… for example STYLE:1:GP1,BASE:-1:GP2")
    _add_limits(command, "default: exact")
    _add_base(command)
    _add_program(command)
    command.add_argument("--into", type=Path, metavar="FILE",
                         help="merge into this checkpoint; --save names the new one, which lies beside it")  # fmt: skip
    _add_saving(command)
    command.set_defaults(run=merge)


def _add_resize(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", help="of a LoRA file of any algorithm")
    _add_limits(command, "default: exact")
    _add_base(command)
    _add_program(command)
    _add_saving(command)
    command.set_defaults(run=resize)


def _add_convert(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", help="of a LoRA file of any algorithm")
    _add_program(command, required=True)
    _add_limits(command, "default: what is needed")
    _add_base(command)
    _add_saving(command)
    command.set_defaults(run=convert, precision=None)


def _add_extract(command: argparse.ArgumentParser) -> None:
    command.add_argument("tuned", type=Path, help="checkpoint file")
    command.add_argument("original", type=Path, help="checkpoint file that it was tuned from")
    _add_limits(command, "default: 32")
    command.add_argument("--conv-rank", type=int, default=0, metavar="N", help="of 3×3 convolutions (default: none)")
    command.add_argument("--no-text-encoder", action="store_true", help="only the U-Net")
    _add_saving(command)
    command.set_defaults(run=extract)


def _add_limits(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument("--rank", type=int, metavar="N", help=f"largest rank of a layer ({default})")
    command.add_argument("--energy", type=float, metavar="SHARE",
                         help="each layer's smallest rank that keeps this share of Σσ², such as 0.99")  # fmt: skip


def _add_base(command: argparse.ArgumentParser) -> None:
    command.add_argument("--base", type=Path, metavar="FILE",
                         help="checkpoint that DoRA, GLoRA, IA3, OFT and BOFT act on")  # fmt: skip


def _add_program(command: argparse.ArgumentParser, required: bool = False) -> None:
    command.add_argument("--for", dest="program", required=required, default="", metavar="PROGRAM",
                         help="only such layers as it applies, under its names: "
                              "a1111-forge, forge-neo, comfyui or diffusers")  # fmt: skip


def _add_saving(command: argparse.ArgumentParser) -> None:
    command.add_argument("--save", metavar="NAME", help="write it among the LoRAs; without, only the report is shown")
    command.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0])


# -- the commands -----------------------------------------------------------------------------------------------------


def merge(args: argparse.Namespace) -> int:
    """Merge, report and perhaps save."""
    from .convert import merge_for
    from .merge import Reduction

    if args.into is not None:
        return _merge_into(args)
    formula, loras, limits = args.formula, args.data / "loras", Reduction(args.rank, args.energy)
    work = partial(merge_for, args.program, formula, loras, limits, presets=_presets(args), base=_base(args))
    return _report_and_save(args, work)


def resize(args: argparse.Namespace) -> int:
    """One file as LoRA of a chosen rank or retained energy."""
    from ..adapters.formula import Term, render
    from .convert import merge_for
    from .merge import Reduction

    formula, loras, limits = render([Term(args.name, 1.0)]), args.data / "loras", Reduction(args.rank, args.energy)
    return _report_and_save(args, partial(merge_for, args.program, formula, loras, limits, base=_base(args)))


def convert(args: argparse.Namespace) -> int:
    """One file for one program; in its own precision, if no other is asked for."""
    from lib_lora.lora_files import find_lora

    from ..adapters.file import open_lora
    from .convert import convert as convert_file
    from .convert import precision_of

    file = open_lora(find_lora(args.name, args.data / "loras"))
    args.precision = args.precision or str(precision_of(file)).removeprefix("torch.")
    work = partial(convert_file, file, args.program, rank=args.rank, energy=args.energy, base=_base(args))
    return _report_and_save(args, work)


def extract(args: argparse.Namespace) -> int:
    """A LoRA, or with a convolution rank a LoCon, from two checkpoints."""
    from ..adapters.extract import Extraction
    from ..adapters.extract import extract as extract_difference

    rank = Extraction.rank if args.rank is None else args.rank
    options = Extraction(rank, args.conv_rank, args.energy, not args.no_text_encoder)
    return _report_and_save(args, partial(extract_difference, args.tuned, args.original, options))


def _merge_into(args: argparse.Namespace) -> int:
    from .merge import merge_to_checkpoint, new_checkpoint_path

    if args.save is None or args.rank is not None or args.energy is not None or args.program:
        what = "A merge into a checkpoint is exact, and needs a name"
        raise UserError(what, where="--into", fix="Give --save NAME, and none of --rank, --energy and --for.")
    target = new_checkpoint_path(args.save, args.into.parent)
    left_out = merge_to_checkpoint(args.formula, args.data / "loras", args.into, target, presets=_presets(args))
    if left_out:
        print(f"{len(left_out)} layers are not in this checkpoint and were left out, such as {left_out[0]}")
    print(f"saved {target}")
    return 0


def _report_and_save(args: argparse.Namespace, work: partial[Merged]) -> int:
    import torch

    from lib_lora.lora_files import new_lora_path

    from .merge import report

    target = None if args.save is None else new_lora_path(args.save, args.data / "loras")
    merged = work()
    saved = None if target is None else merged.save(target, getattr(torch, args.precision))
    print(report(merged))
    if saved is not None:
        print(f"saved {saved}")
    return 0


def _presets(args: argparse.Namespace) -> Path:
    return Places(args.data).block_presets


def _base(args: argparse.Namespace) -> Any:
    from ..adapters.base_weights import CheckpointWeights

    return None if args.base is None else partial(CheckpointWeights, args.base)
