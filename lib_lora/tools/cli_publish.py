"""``inspect`` and ``publish`` on the command line. What takes long to import is imported by the command that runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib_lora.places import Places

from ..errors import UserError

if TYPE_CHECKING:
    from .examples import Examples
    from .inspection import Facts, Strengths


def add_commands(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add ``inspect`` and ``publish``; ``parents`` give the option ``--data``."""
    look = commands.add_parser("inspect", parents=parents, help="what a LoRA file is, anybody's")
    look.add_argument("name", help="of a LoRA among the data, or a file")
    look.add_argument("--base", type=Path, metavar="FILE", help="checkpoint whose weights it is compared with")
    look.add_argument("--json", action="store_true", help="for programs")
    look.set_defaults(run=inspect)
    command = commands.add_parser("publish", parents=parents, help="a folder or zip for Civitai and Hugging Face")
    command.add_argument("name", help="of a LoRA among the data, or a file")
    command.add_argument("--as", dest="title", metavar="NAME", help="what it is published as (default: its name)")
    command.add_argument("--trigger", help="default: what the file says")
    command.add_argument("--weight", type=float, metavar="N", help="recommended (default: what its card says, else 1)")
    command.add_argument("--description", default="")
    command.add_argument("--licence", default="", metavar="ID", help="as Hugging Face spells it, such as cc-by-4.0")
    command.add_argument("--base-model", default="", metavar="OWNER/NAME", help="on Hugging Face")
    command.add_argument("--picture", type=Path, action="append", metavar="FILE",
                         help="an example, the cover first; several times (default: those of its run)")  # fmt: skip
    command.add_argument("--zip", action="store_true", help="one file in place of a folder")
    command.add_argument("--to", type=Path, metavar="FOLDER", help="where it goes (default: published in the data)")
    command.set_defaults(run=publish)


def inspect(args: argparse.Namespace) -> int:
    """Print what is known of a file."""
    from ..adapters.base_weights import CheckpointWeights
    from ..adapters.file import open_lora
    from .inspection import look_at, measure

    path = _file(args)
    facts = look_at(path)
    base = None if args.base is None else CheckpointWeights(args.base)
    found = measure(open_lora(path), base, "" if args.base is None else args.base.stem)
    if args.json:
        print(json.dumps({**asdict(facts), "path": str(facts.path), "strengths": asdict(found)}, ensure_ascii=False))
    else:
        print("\n".join(_report(facts, found)))
    return 0


def publish(args: argparse.Namespace) -> int:
    """Write the folder or zip, and print where it is."""
    from .card_files import read_card
    from .examples import Example
    from .inspection import look_at
    from .model_card import CardText
    from .publish import Publication
    from .publish import publish as write

    path = _file(args)
    facts, card = look_at(path), read_card(path)
    own = _examples(args, path)
    pictures = [Example(one, "given") for one in args.picture or ()] or list(own.pictures[: own.usual])
    text = CardText(
        (args.title or path.stem).strip(),
        facts.trigger if args.trigger is None else args.trigger,
        args.weight if args.weight is not None else (card.weight if card else 1.0),
        args.description or (card.description if card else ""),
        args.licence,
        args.base_model,
    )
    folder = args.to or Places(args.data).published
    print(write(path, folder, Publication(text, pictures, own.sheet, args.zip), own.run))
    return 0


def _examples(args: argparse.Namespace, path: Path) -> Examples:
    from ..training.run_store import RunStore
    from .examples import examples_of

    return examples_of(path, RunStore(args.data / "runs"))


def _file(args: argparse.Namespace) -> Path:
    from lib_lora.lora_files import find_lora

    path = Path(args.name)
    if path.is_file():
        return path
    try:
        return find_lora(args.name, args.data / "loras")
    except UserError:
        if path.suffix:
            raise UserError("There is no such file", where=path, fix="Check the path.") from None
        raise


def _report(facts: Facts, found: Strengths) -> Iterator[str]:
    of_rank = ", ".join(f"{rank} ({layers} layers)" for rank, layers in facts.ranks.items()) or "full"
    yield f"{facts.name}: {', '.join(facts.kinds)} for {facts.family}, {facts.layers} layers, rank {of_rank}"
    yield f"{facts.size / 1e6:.1f} MB, {', '.join(facts.precisions)}"
    if facts.trigger:
        yield f"trigger: {facts.trigger}"
    if facts.tags:
        yield "tags: " + ", ".join(f"{tag} {count}" for tag, count in facts.tags)
    for name, value in facts.settings.items():
        yield f"{name}: {value}"
    if found.curve:
        needed = " · ".join(f"rank {found.rank_for(share)} keeps {share:.0%}" for share in (0.9, 0.99))
        yield f"of {len(found.curve)} ranks: {needed}"
    against = f"  of {found.base}" if found.base else ""
    yield f"{'block':8}{'layers':>7}{'share':>8}{'rank':>7}{'used':>7}{'90 %':>7}{'99 %':>7}{against}"
    for block in found.blocks:
        numbers = "".join(
            f"{'' if n is None else f'{n:.1f}':>7}" for n in (block.rank, block.effective, block.at90, block.at99)
        )
        compared = "" if block.against is None else f"  {block.against:.2%}"
        yield f"{block.block:8}{block.layers:>7}{block.share:>8.1%}{numbers}{compared}"
    yield from (f"! {remark}" for remark in (*facts.remarks, *found.remarks))
    yield from facts.programs
