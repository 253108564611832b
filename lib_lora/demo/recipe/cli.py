"""``python -m lib_lora demo build|score|export|pair|trio``."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import CHECKPOINT, web_ui

if TYPE_CHECKING:
    from ...hosts.standalone.host import StandaloneHost

STATE = Path(".state/demo")
PICTURES, STYLES = 14_000, 4_000
FLOW_PICTURES, FLOW_STEPS, FLOW_RATE = 3_000, 210, 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands of ``demo`` to ``parser``."""
    commands = parser.add_subparsers(dest="demo_command", required=True)
    b = commands.add_parser("build", help="train the miniature from scratch; goes on where it stopped")
    b.add_argument("stage", choices=("pictures", "decoder", "polish", "encoder", "denoiser", "export", "flow"))
    b.add_argument("--minutes", type=float, default=30.0, help="time for this stage (default: %(default)s)")
    b.add_argument("--steps", type=int, default=FLOW_STEPS, help="flow: in place of minutes (default: %(default)s)")
    b.add_argument("--state", type=Path, default=STATE, help="folder for states (default: %(default)s)")
    b.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    b.add_argument("--half", action="store_true", help="denoiser: begin with pictures of half the size")
    b.add_argument("--lr", type=float, default=0.02, help="denoiser: Muon's learning rate (default: %(default)s)")
    b.add_argument("--decay-from", type=float, default=0.55, help="denoiser: share of the time before the rate falls")
    b.add_argument("--output", type=Path, help="file that export or flow writes (default: the embedded one)")
    b.set_defaults(run=build)
    s = commands.add_parser("score", help="measure how well the miniature follows prompts; one JSON line")
    s.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    s.add_argument("--count", type=int, default=256, help="prompts (default: %(default)s)")
    s.add_argument("--cfg", type=float, default=4.0, help="guidance scale (default: %(default)s)")
    s.add_argument("--sheet", type=Path, help="also write a contact sheet of the first 40")
    s.set_defaults(run=score)
    web_ui.add_arguments(commands.add_parser("export", help="put the miniature among a web UI's models"))
    p = commands.add_parser("pair", help="two characters in one picture: three ways to train them, as a table")
    p.add_argument("--data", type=Path, default=STATE / "pair", help="LoRAs and pictures (default: %(default)s)")
    p.add_argument("--output", type=Path, default=STATE / "pair", help="for pair.md, pair.json and pair.png")
    p.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    p.add_argument("--singles", type=int, default=20, help="pictures of each character (default: %(default)s)")
    p.add_argument("--steps", type=int, default=480, help="of training for each way (default: %(default)s)")
    p.add_argument("--pictures", type=int, default=32, help="drawn for each way (default: %(default)s)")
    p.set_defaults(run=pair)
    p = commands.add_parser("trio", help="three characters in one picture, places first, as a table")
    p.add_argument("--data", type=Path, default=STATE / "trio", help="LoRAs and pictures (default: %(default)s)")
    p.add_argument("--output", type=Path, default=STATE / "trio", help="for trio.md, trio.json and trio.png")
    p.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    p.add_argument("--pictures", type=int, default=32, help="drawn (default: %(default)s)")
    p.add_argument("--seed", type=int, default=0, help="of the training pictures; picture seeds follow it")
    p.set_defaults(run=trio)


def build(args: argparse.Namespace) -> int:
    """Run one stage of the recipe."""
    import torch

    from ..flow import DIFFERENCE
    from . import autoencoder, denoiser, export, flow, pictures

    torch.set_num_threads(args.threads)
    if args.stage == "flow":
        folder = args.state / "flow"
        flow.train(pictures.prepare(folder, FLOW_PICTURES), folder, args.steps, FLOW_RATE)
        print(flow.export(folder, args.output or DIFFERENCE))
        return 0
    rendered = pictures.prepare(args.state, PICTURES)
    restyled = pictures.prepare(args.state, STYLES, seed=2, restyled=True)
    squares = [rendered["square"], restyled["square"]]
    if args.stage == "decoder":
        autoencoder.train_decoder(squares, args.state, args.minutes)
    elif args.stage == "polish":
        autoencoder.train_decoder(squares, args.state, args.minutes, size=128, lr=0.004, decay_from=0.1)
    elif args.stage == "encoder":
        autoencoder.train_encoder(squares, args.state, args.minutes)
    elif args.stage == "denoiser":
        denoiser.train(rendered, args.state, args.minutes, args.half, args.lr, args.decay_from)
    elif args.stage == "export":
        print(export.export(args.state, args.output or CHECKPOINT))
    if args.stage in ("decoder", "polish", "encoder"):
        for name, shown in zip(("the world's styles", "random styles"), squares, strict=True):
            print(name, json.dumps(autoencoder.evaluate(shown, args.state)))
    return 0


def score(args: argparse.Namespace) -> int:
    """Print the judge's scores as the last line."""
    from .score import score as measure

    print(json.dumps(measure(args.checkpoint, args.count, cfg=args.cfg, sheet=args.sheet)))
    return 0


def pair(args: argparse.Namespace) -> int:
    """Train two characters in four ways and print the table."""
    from ..pair import Amounts, run

    run(_host(args), args.output, Amounts(args.singles, steps=args.steps, pictures=args.pictures))
    print((args.output / "pair.md").read_text(encoding="utf-8"))
    return 0


def trio(args: argparse.Namespace) -> int:
    """Train three characters, places first, and print the table."""
    from ..pair.trio import AMOUNTS, run

    first_seed = AMOUNTS.first_seed + 3000 * args.seed
    amounts = replace(AMOUNTS, pictures=args.pictures, seed=args.seed, first_seed=first_seed)
    run(_host(args), args.output, amounts)
    print((args.output / "trio.md").read_text(encoding="utf-8"))
    return 0


def _host(args: argparse.Namespace) -> StandaloneHost:
    """With the checkpoint of the options loaded, on their data folder."""
    from lib_lora.models.base import HostPaths

    from ...hosts.standalone.host import StandaloneHost

    data = args.data.absolute()
    host = StandaloneHost(HostPaths(data / "loras", args.checkpoint.absolute().parent, data / "runs", data))
    host.load(args.checkpoint.stem)
    return host
