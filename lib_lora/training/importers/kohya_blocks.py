"""kohya's rates and ranks of single blocks, to and fro: 12 + 1 + 12 of them in SD 1 and 2, 9 + 3 + 9 and two in XL."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from lib_lora.adapters.blocks import BLOCKS_20, BLOCKS_26, BlockWeights, load_presets
from lib_lora.errors import UserError
from lib_lora.models.families import family
from lib_lora.training.block_ranks import BlockRanks, format_block_ranks, parse_block_ranks
from lib_lora.training.config import TrainConfig
from lib_lora.training.importers.report import Reading
from lib_lora.training.importers.values import Unreadable, number, numbers, shown

PREFIX = "network_args."
RATES = ("down_lr_weight", "mid_lr_weight", "up_lr_weight")
THRESHOLD = "block_lr_zero_threshold"
RANKS = {"block_dims": "block_ranks", "block_alphas": "block_ranks", "conv_block_dims": "conv_block_ranks",
         "conv_block_alphas": "conv_block_ranks"}  # fmt: skip
CURVES: dict[str, Callable[[float], float]] = {  # of the share of the way from the first block to the last
    "cosine": lambda x: math.cos(math.pi * x / 2), "sine": lambda x: math.sin(math.pi * x / 2), "linear": lambda x: x,
    "reverse_linear": lambda x: 1 - x, "zeros": lambda x: 0.0,
}  # fmt: skip


def rates(value: Any) -> list[float] | str:
    """Numbers, or the name of a curve with what is added to it: ``cosine+.2``."""
    if isinstance(value, str) and value.strip().partition("+")[0] in CURVES:
        number(value.partition("+")[2] or "0")
        return value.strip()
    found = numbers(value)
    if len(found) not in (1, 3, 9, 12) or min(found) < 0:
        raise Unreadable(f"{shown(value)} are no rates of blocks")
    return found


def dims(value: Any) -> list[float]:
    """Ranks or alphas of all blocks, 0 to 512 each."""
    found = numbers(value)
    if len(found) not in (23, 25) or any(not 0 <= one <= 512 for one in found):
        raise Unreadable(f"{shown(value)} are no numbers for 25 blocks, or 23 of SDXL")
    return found


def block_rates(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """Factors of the U-Net's rate, from all keys that say something about it."""
    parts = [given.get(f"{PREFIX}{name}") for name in RATES]
    xl = any(isinstance(part, list) and len(part) in (3, 9) for part in parts)
    down, mid, up = (_curve(part, 9 if xl else 12) for part in parts)
    threshold = given.get(f"{PREFIX}{THRESHOLD}", 0.0)
    count = 9 if xl else 12
    weights = [1.0, *_fitting(down, count), mid[len(mid) // 2], *_fitting(up, count)]
    weights = [0.0 if weight <= threshold else weight for weight in weights]
    of, layout = family("sdxl" if xl else "sd1"), BLOCKS_20 if xl else BLOCKS_26
    reading.translate(key, "Rates per block", block_lr=BlockWeights.read(weights, of).format(layout))


def block_ranks(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """Ranks and alphas of the blocks; where only one of them is said, the other is that of all layers."""
    conv = "conv_" if "conv_" in key else ""
    rank = given.get(f"{PREFIX}conv_dim") if conv else given.get("network_dim", 4)
    alpha = given.get(f"{PREFIX}conv_alpha", 1.0) if conv else given.get("network_alpha", 1.0)
    ranks, alphas = given.get(f"{PREFIX}{conv}block_dims"), given.get(f"{PREFIX}{conv}block_alphas")
    if ranks is None and rank is None:
        reading.ignore(key, "Counts with conv_dim or conv_block_dims only")
        return
    xl = 23 in (len(ranks or ()), len(alphas or ()))
    by_rank = _by_block(ranks or [rank] * (23 if xl else 25))
    by_alpha = _by_block(alphas or [alpha] * (23 if xl else 25))
    whole = {block: round(value) for block, value in by_rank.items()}
    named = {block: by_alpha[block] or float(value) for block, value in whole.items() if value and block in by_alpha}
    values: dict[str, Any] = {f"{conv}block_ranks": format_block_ranks(BlockRanks(whole, named))}
    if conv and rank is None:
        values["conv_rank"] = max(1, *whole.values())
    reading.translate(key, "Convolution ranks per block" if conv else "Ranks per block", **values)


def meaning(config: TrainConfig, name: str) -> dict[str, tuple[int, float]]:
    """Rank and alpha of every block of the U-Net, as the setting ``name`` has it; blocks left out have no alpha."""
    given = parse_block_ranks(getattr(config, name), name)
    rank, alpha = (config.conv_rank, config.conv_alpha) if name.startswith("conv") else (config.rank, config.alpha)
    if not given.ranks or not rank:
        return {}
    blocks = BLOCKS_20 if config.resolution >= 1024 else BLOCKS_26
    ranks = {block: given.ranks.get(block, rank) for block in blocks}
    return {b: (of, given.alphas.get(b, alpha * of / rank) if of else 0.0) for b, of in ranks.items()}


def to_kohya(config: TrainConfig) -> list[str]:
    """The network arguments for rates and ranks of blocks, as far as kohya's trainer has them."""
    xl = config.resolution >= 1024  # the settings do not know the model
    arguments: list[str] = []
    try:
        of = family("sdxl" if xl else "sd1")
        weights = BlockWeights.parse(config.block_lr, load_presets(), of) if config.block_lr.strip() else None
        ranks = {name: parse_block_ranks(getattr(config, name), name) for name in ("block_ranks", "conv_block_ranks")}
    except UserError:
        return []
    if weights:
        layout = BLOCKS_20 if xl else BLOCKS_26
        half = len(layout) // 2
        middle = [layout[half]] * (3 if xl else 1)
        for name, blocks in zip(RATES, (layout[1:half], middle, layout[half + 1 :]), strict=True):
            arguments.append(f"{name}={','.join(f'{weights[block]!r}' for block in blocks)}")
    for name, given in ranks.items():
        if not given.ranks:
            continue
        conv = "conv_" if name.startswith("conv") else ""
        rank, alpha = (config.conv_rank, config.conv_alpha) if conv else (config.rank, config.alpha)
        blocks = _with_more([*BLOCKS_20[1:]]) if xl else BLOCKS_26[1:]
        of_rank = [given.ranks.get(block, rank) for block in blocks]
        of_alpha = [
            given.alphas.get(block, alpha * of / rank if rank else alpha)
            for block, of in zip(blocks, of_rank, strict=True)
        ]
        arguments.append(f"{conv}block_dims={','.join(map(str, of_rank))}")
        arguments.append(f"{conv}block_alphas={','.join(map(repr, of_alpha))}")
    return arguments


def _by_block(values: list[Any]) -> dict[str, float]:
    """Of XL's 23 the first and the last, embeddings and output, have no layers here; its middle has one value."""
    if len(values) == 25:
        return dict(zip(BLOCKS_26[1:], values, strict=True))
    return dict(zip(BLOCKS_20[1:], [*values[1:10], values[11], *values[13:22]], strict=True))


def _with_more(blocks: list[str]) -> list[str]:
    """XL's 19 blocks with those that kohya counts beside them, under the names of their neighbours."""
    return [blocks[0], *blocks[:9], *[blocks[9]] * 3, *blocks[10:], blocks[-1]]


def _curve(part: list[float] | str | None, count: int) -> list[float]:
    if part is None:
        return [1.0]
    if isinstance(part, list):
        return part
    name, _, base = part.partition("+")
    return [CURVES[name](i / (count - 1)) + number(base or "0") for i in range(count)]


def _fitting(values: list[float], count: int) -> list[float]:
    return values if len(values) == count else (values * count)[:count]
