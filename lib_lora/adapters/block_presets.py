"""Named block weights: the built-in ones, the user's own file, and lists of the LoRA Block Weight extension.

A file has lines ``NAME:weights``, the weights in any form of :func:`lib_lora.adapters.blocks.BlockWeights.parse`; ``#``
starts a comment line; several lines of one name are forms for several layouts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lib_lora.errors import UserError
from lib_lora.files import turn, write_text
from lib_lora.models.families import families
from lib_lora.small_files import plain_text

LONGEST_LINE = 10_000  # characters
BUILT_IN_PRESETS = Path(__file__).with_name("block_presets.txt")
_BAD_NAME = re.compile(r'[,:"=#\n]')
LETTER = re.compile(r"[RU]|X(?:[+-]\d*\.?\d+)?")  # random weights, and the one that a tag gives
OF_ITS_PLOT = ("XYZ", "ZYX")  # what the extension's own plot fills in: weights, and 1 less each of them
_ATTENTION = ("to_q", "to_k", "to_v", "to_out_0")
LAYERS_OF_KINDS = {  # of a U-Net, by the names that the extension sees
    "attn1": tuple(f"transformer_blocks_0_attn1_{name}" for name in _ATTENTION),
    "attn2": tuple(f"transformer_blocks_0_attn2_{name}" for name in _ATTENTION),
    "mlp": ("transformer_blocks_0_ff_net_0_proj", "transformer_blocks_0_ff_net_2"),
    "proj": ("proj_in", "proj_out"),
    "conv": ("in_layers_2", "out_layers_3", "emb_layers_1", "skip_connection", "op", "conv"),
    "norm": ("transformer_blocks_0_norm1", "in_layers_0", "out_layers_0"),
}
_ELEMENTAL = re.compile(r"([^:,\n]*):([^:,\n]*):([^:,\n]*)")


def load_presets(path: str | Path | None = None) -> dict[str, str]:
    """Preset names and their weights as text: the built-in ones, and over them those of the user's file ``path``.

    A file that does not exist is an empty one; :func:`preset_faults` names its lines that are no presets.
    """
    presets = dict(_read_presets(BUILT_IN_PRESETS)[0])
    if path is not None:
        presets.update(_read_presets(Path(path))[0])
    return presets


def preset_faults(path: Path) -> list[str]:
    """What of the user's file cannot be read, with what to do; all else of it works."""
    return _read_presets(path)[1]


def save_presets(path: Path, new: Mapping[str, str], replace: bool = False) -> None:
    """Add presets to the user's file; its other lines, and comments, stay as they are.

    Args:
        replace: overwrite presets of these names in the user's file.

    Raises:
        UserError: a name that cannot be written, or is in the file already; nothing is written then.
    """
    for name in new:
        if not name or name != name.strip() or _BAD_NAME.search(name):
            raise UserError(f"{name!r} cannot be a preset's name", where="preset", fix='Leave out , : = # and ".')
    with turn(path):
        _add(path, new, replace)


def _add(path: Path, new: Mapping[str, str], replace: bool) -> None:
    present = _read_presets(path)[0]
    taken = sorted(set(new) & set(present))
    if taken and not replace:
        raise UserError(
            f"You have a preset called {', '.join(taken)} already",
            where=path,
            fix="Choose another name, or allow replacing it.",
        )
    try:
        lines = plain_text(path).splitlines() if path.exists() else []
    except OSError as error:
        raise _unreadable(path, error) from error
    kept = [line for line in lines if line.lstrip().startswith("#") or line.partition(":")[0].strip() not in new]
    write_text(path, "\n".join([*kept, *(f"{name}:{weights}" for name, weights in new.items())]) + "\n")


@dataclass
class Imported:
    """Presets read from a list of another program, and what could not be, with the reason."""

    presets: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def import_lbw(text: str) -> Imported:
    """Presets from ``lbwpresets.txt`` (``NAME:1,0,…``) or ``elempresets.txt`` (``NAME:BLOCKS:ELEMENTS:weight,…``).

    As the extension reads them: a ``#`` anywhere disables a line, elements go on over commas and lines up to an empty
    line, blanks separate several blocks or elements, NOT before them stands for all others, and none for all. Weights
    ``R``, ``U`` and ``X`` stay; see :func:`lib_lora.tools.prompt_networks.block_weights`.
    """
    found = Imported()
    for name, body in _lbw_entries(text):
        try:
            if name in OF_ITS_PLOT:
                raise ValueError("that extension's own plot fills it in; here an X/Y/Z plot varies any tag's blocks")
            found.presets[name] = _elemental(body) if ":" in body else _vector(body)
        except ValueError as error:
            found.skipped[name] = str(error)
    return found


def drawn_as(text: str, number: str) -> str:
    """Weights with ``number`` for each of the extension's letters, to see whether they can be read."""
    return ",".join(number if LETTER.fullmatch(part.strip()) else part for part in text.split(","))


def _lbw_entries(text: str) -> Iterator[tuple[str, str]]:
    """(name, everything after its colon); lines that go on with an elemental entry are joined to it."""
    name, body = "", ""
    for line in [*text.splitlines(), ""]:
        line = "" if "#" in line else line.strip()
        more = line.count(":") == 2 and ":" in body
        if more:
            body += f",{line}"
            continue
        if name:
            yield name, body
        name, _, body = (part.strip() for part in line.partition(":"))
    if name:
        yield name, body


def _vector(body: str) -> str:
    numbers = [part.strip() for part in body.split(",")]
    if not any(len(numbers) == len(names) for one in families().values() for names in one.blocks.accepted):
        raise ValueError(f"it has {len(numbers)} weights, which no family has")
    return ",".join(number if LETTER.fullmatch(number) else _number(number) for number in numbers)


def _number(text: str) -> str:
    return repr(float(text)).removesuffix(".0")


def _elemental(body: str) -> str:
    entries = []
    for part in filter(None, (part.strip() for part in body.split(","))):
        match = _ELEMENTAL.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is not BLOCKS:ELEMENTS:weight")
        blocks, elements, weight = (group.strip() for group in match.groups())
        target, number = _blocks(blocks), _number(weight)
        kinds = _kinds(elements.split())
        entries += [f"{target}.{kind}={number}" if kind else f"{target}={number}" for kind in kinds]
    return ",".join(entries)


def _blocks(text: str) -> str:
    """Blocks as :meth:`~lib_lora.adapters.blocks.BlockWeights.parse` takes them; the extension also takes parts of
    their names, for all that have it, and ranges that run backwards."""
    every = next((one.blocks.names for one in families().values() if _all_named(text, one.blocks.names)), None)
    if every is None:
        raise ValueError(f"{text!r} names no blocks")
    words = []
    for word in text.split():
        first, dash, last = word.partition("-")
        if dash and every.index(first) > every.index(last):
            word = f"{last}-{first}"
        words += [word] if dash or word == "NOT" or word in every else [name for name in every if word in name]
    return " ".join(words) or f"{every[0]}-{every[-1]}"


def _all_named(text: str, names: Sequence[str]) -> bool:
    words = [word for word in text.replace("-", " ").split() if word != "NOT"]
    whole = [end for word in text.split() if "-" in word for end in word.split("-")]
    return all(end in names for end in whole) and all(any(word in name for name in names) for word in words)


def _kinds(words: list[str]) -> list[str]:
    """Our kinds of layers for the extension's words, [""] for all of them.

    A word is part of a layer's name there. One that is a kind's name here means that kind; of others, those count that
    pick a kind's layers all or not at all.
    """
    wanted = words[1:] if words[:1] == ["NOT"] else words
    known = {name: kinds for one in families().values() for name, kinds in one.kinds.choices.items()}
    found: set[str] = set()
    for word in wanted:
        found |= set(known[word]) if word in known else _covered(word)
    if words[:1] == ["NOT"]:
        return [kind for kind in LAYERS_OF_KINDS if kind not in found]
    return [word for word in wanted if word in known] + sorted(
        found - {kind for word in wanted if word in known for kind in known[word]}
    ) or [""]


def _covered(word: str) -> set[str]:
    found = set()
    for kind, layers in LAYERS_OF_KINDS.items():
        hits = [word in layer for layer in layers]
        if any(hits) and not all(hits) and kind != "norm":  # few files have norms; they count where all are picked
            raise ValueError(f"the element {word!r} picks a part of the {kind} layers, which go together here")
        found |= {kind} if all(hits) else set()
    if not found:
        raise ValueError(f"the element {word!r} has no counterpart here")
    return found


def _read_presets(path: Path) -> tuple[dict[str, str], list[str]]:
    """Name -> weights, and a sentence for what is no preset."""
    try:
        content = plain_text(path) if path.exists() else ""
    except OSError as error:
        return {}, [str(_unreadable(path, error))]
    presets: dict[str, str] = {}
    faults: list[str] = []
    for number, line in enumerate(content.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, weights = (part.strip() for part in line.partition(":"))
        if not name or not colon or "," in name or len(line) > LONGEST_LINE:
            fix = "Write NAME:w1,w2,… on each line"
            faults.append(str(UserError(f"Line {number} is not a block preset", where=path, fix=fix)))
        else:
            presets[name] = f"{weights}|{presets[name]}" if name in presets else weights  # a form for another layout
    return presets, faults


def _unreadable(path: Path, error: OSError) -> UserError:
    what = f"The block presets cannot be read ({error.strerror})"
    return UserError(what, where=path, fix="Move away what is there, or see who may read it")
