"""Matching pairs -> what to keep, what to set aside, and which pictures count as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lib_lora.dataset.collection.captions import plan_texts
from lib_lora.dataset.collection.change import Change
from lib_lora.dataset.collection.moving import merged, plan_move
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.duplicates.search import Pair, SearchOptions, matching_pairs
from lib_lora.dataset.duplicates.signatures import read_signatures
from lib_lora.dataset.pictures.flips import mirrored_text
from lib_lora.dataset.problems import Problem

NAMED = 5


@dataclass(frozen=True)
class CopyGroup:
    """A picture and its copies, each with the pair that says how alike they are."""

    keep: Picture
    copies: tuple[tuple[Picture, Pair], ...]


@dataclass(frozen=True)
class Duplicates:
    """Result of a search. ``variants`` are groups of kept pictures; each group counts as one image."""

    copies: tuple[CopyGroup, ...]
    variants: tuple[tuple[Picture, ...], ...]
    pairs: tuple[Pair, ...]
    problems: tuple[Problem, ...]

    @property
    def rejects(self) -> list[Picture]:
        """All copies but the one of each group that is to stay."""
        return [picture for group in self.copies for picture, _ in group.copies]


def find_duplicates(
    pictures: Sequence[Picture], options: SearchOptions | None = None, cache: Path | None = None
) -> Generator[tuple[int, int], None, Duplicates]:
    """Compare all pictures with each other; yields (done, total): reading counts once, comparing once more.

    Args:
        cache: see `read_signatures`.
    """
    options = options or SearchOptions()
    total = 2 * len(pictures)
    reading = read_signatures(pictures, options.ignore_background, cache)
    while True:
        try:
            yield next(reading)[0], total
        except StopIteration as finished:
            signatures, problems = finished.value
            break
    sizes = np.array([pictures[row].size for row in signatures.rows]).reshape(-1, 2)
    pairs: list[Pair] = []
    compared = 0
    for compared, found in enumerate(matching_pairs(signatures, options, sizes), start=1):
        pairs += found
        yield min(total, len(pictures) + compared * 256), total
    return group(pictures, pairs, problems)


def group(pictures: Sequence[Picture], pairs: Sequence[Pair], problems: Sequence[Problem] = ()) -> Duplicates:
    """Largest picture first (then longest file, then name): it is kept, and what directly copies it goes with it.

    Every copy has thus been compared with the picture that replaces it; there are no chains.
    """
    copies, variants = defaultdict(dict), defaultdict(dict)
    for pair in pairs:
        links = variants if pair.variant else copies
        links[pair.first][pair.second] = links[pair.second][pair.first] = pair
    order = sorted(range(len(pictures)), key=lambda row: _rank(pictures[row]))
    kept_by: dict[int, int] = {}
    groups = []
    for row in order:
        if row in kept_by:
            continue
        kept_by[row] = row
        own = {other: pair for other, pair in copies[row].items() if other not in kept_by}
        kept_by |= dict.fromkeys(own, row)
        if own:
            groups.append(CopyGroup(pictures[row], tuple((pictures[other], pair) for other, pair in own.items())))
    links = [(kept_by[p.first], kept_by[p.second]) for p in pairs if p.variant]
    families = _connected(links)
    return Duplicates(
        tuple(groups),
        tuple(tuple(pictures[row] for row in sorted(family)) for family in families),
        tuple(pairs),
        tuple(problems),
    )


def plan_rejects(found: Duplicates, folder: Path, rejects: Sequence[Picture] | None = None) -> Change:
    """Move copies (or those that the user left ticked) into ``folder``; nothing is deleted.

    A picture that is kept and has no caption gets the longest one of its copies that go, left and right exchanged where
    it is a mirror image; where it has one, longer ones are only named.
    """
    going = found.rejects if rejects is None else rejects
    moved = plan_move(going, folder, "Set copies aside")
    inherited, longer = _captions(found, {picture.path for picture in going})
    if inherited:
        captions = plan_texts(inherited, moved.title)
        counts = {"captions taken over from copies": len(captions.operations), **moved.counts}
        moved = replace(merged([captions, moved], moved.title), counts=counts)
    if longer:
        names = ", ".join(picture.path.name for picture in longer[:NAMED])
        note = f"Kept pictures whose copies have longer captions, which go aside with them: {len(longer)} ({names})"
        moved = replace(moved, notes=(*moved.notes, note))
    return moved


def _captions(found: Duplicates, going: set[Path]) -> tuple[list[tuple[Picture, str]], list[Picture]]:
    """(kept pictures with the caption that they get, kept pictures whose own caption is not the longest)."""
    inherited: list[tuple[Picture, str]] = []
    longer: list[Picture] = []
    for copies in found.copies:
        members = [(copies.keep, False), *((picture, pair.mirrored) for picture, pair in copies.copies)]
        leaving = [member for member in members if member[0].path in going and member[0].text.strip()]
        best = max(leaving, key=lambda member: len(member[0].text.strip()), default=None)
        for picture, mirrored in members if best else ():
            if picture.path in going:
                continue
            if not picture.text.strip() and picture.readable:
                inherited.append((picture, mirrored_text(best[0]) if mirrored != best[1] else best[0].text))
            elif len(best[0].text.strip()) > len(picture.text.strip()):
                longer.append(picture)
    return inherited, longer


def _rank(picture: Picture) -> tuple[int, int, str]:
    return -picture.pixels, -picture.bytes, str(picture.path)


def _connected(links: Sequence[tuple[int, int]]) -> list[set[int]]:
    """Connected components with two members or more."""
    component: dict[int, set[int]] = {}
    for first, second in links:
        if first == second:
            continue
        merged = component.get(first, {first}) | component.get(second, {second})
        for member in merged:
            component[member] = merged
    return list({id(members): members for members in component.values()}.values())
