"""Repeats of folders: main visuals to faces four to one, and folders of several concepts evened out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lib_lora.dataset.balance.classes import FACE, MAIN

WANTED_RATIO = 4.0  # samples of main visuals for each of a face
TOLERANCE = 0.25  # of the ratio
LEAST, MOST = 1000, 2000  # Σ images × repeats × factor
WITH_FLIPS, WITHOUT_FLIPS = 2, 4  # the factor: mirrored copies double the set
VARIANTS = "variants"  # class of the groups of variants; a group counts as one image


@dataclass(frozen=True)
class Balance:
    """Repeats for each class.

    Args:
        images: per class. repeats: per class.
        total: Σ images × repeats × factor.
        ratio: samples of main ÷ samples of face; None without faces.
        problems: which rules could not be kept, and what would help.
    """

    images: Mapping[str, int]
    repeats: Mapping[str, int]
    total: int
    ratio: float | None
    problems: tuple[str, ...] = ()


def solve(images: Mapping[str, int], flipped: bool, variant_size: int = 1) -> Balance:
    """The smallest repeats with main : face ≈ 4 : 1, other classes below face, and the total in [1000, 2000].

    Where no repeats do, the nearest ones are returned with the reasons.

    Args:
        images: number of pictures per class; "main" must have some, or "face" alone.
        flipped: mirrored copies are trained too.
        variant_size: pictures in each group of the class "variants", whose repeats are those of main ÷ this.
    """
    counts = {name: count for name, count in images.items() if count > 0}
    factor = WITH_FLIPS if flipped else WITHOUT_FLIPS
    if not counts:
        return Balance({}, {}, 0, None, ("There are no images",))
    candidates = [_balance(counts, repeats, factor) for repeats in _candidates(counts, variant_size, factor)]
    return min(candidates, key=lambda b: (len(b.problems), _misses(b), sum(b.repeats.values()), _off(b.ratio)))


def even(images: Mapping[str, int], target: int = 0) -> dict[str, int]:
    """Repeats that give folders of several concepts the same number of samples (kohya_ss' dataset balancing).

    Args:
        images: pictures per folder. target: samples per folder; 0 takes the largest folder.
    """
    goal = target or max(images.values(), default=0)
    return {name: max(1, round(goal / count)) if count else 1 for name, count in images.items()}


def _candidates(images: Mapping[str, int], variant_size: int, factor: int) -> Iterator[dict[str, int]]:
    leading = MAIN if MAIN in images else FACE if FACE in images else next(iter(images))
    most = max(1, MOST // (factor * images[leading]))
    for repeats in range(1, most + 1):
        for face in _face_repeats(images, repeats):
            yield _complete(images, {leading: repeats, **face}, variant_size)


def _face_repeats(images: Mapping[str, int], main: int) -> list[dict[str, int]]:
    if MAIN not in images or FACE not in images:
        return [{}]
    exact = images[MAIN] * main / (WANTED_RATIO * images[FACE])
    least, most = int(exact / (1 + TOLERANCE)), int(exact / (1 - TOLERANCE)) + 1
    return [{FACE: repeats} for repeats in range(max(1, least), most + 1)]


def _complete(images: Mapping[str, int], repeats: dict[str, int], variant_size: int) -> dict[str, int]:
    """The other classes: as many as faces allow, never more than main; variants by the size of their groups."""
    main = repeats.get(MAIN, max(repeats.values()))
    for name, count in images.items():
        if name == VARIANTS:
            repeats[name] = max(1, round(main / variant_size))
        elif name not in repeats:
            room = images[FACE] * repeats[FACE] // count if FACE in repeats else main
            repeats[name] = min(main, max(1, room))
    return repeats


def _balance(images: Mapping[str, int], repeats: Mapping[str, int], factor: int) -> Balance:
    samples = {name: images[name] * repeats[name] for name in images}
    total = factor * sum(samples.values())
    ratio = samples[MAIN] / samples[FACE] if MAIN in samples and FACE in samples else None
    return Balance(dict(images), dict(repeats), total, ratio, tuple(_problems(samples, total, ratio, factor)))


def _problems(samples: Mapping[str, int], total: int, ratio: float | None, factor: int) -> Iterator[str]:
    if total > MOST:
        spare = -(-(total - MOST) // factor)
        yield f"Σ is {total}, above {MOST}: leave out images, about {spare} of those seen once"
    if total < LEAST:
        yield f"Σ is {total}, below {LEAST}: more repeats would break another rule; add images"
    if _off(ratio) > TOLERANCE:
        which = "main visuals" if ratio < WANTED_RATIO else "faces"
        yield f"main : face is {ratio:.1f} : 1 instead of 4 : 1: add {which}, or leave out some of the others"
    for name, count in samples.items():
        if name not in (MAIN, FACE, VARIANTS) and count > samples.get(FACE, count):
            yield f"{name} has more samples ({count}) than face ({samples[FACE]}): leave out some"


def _misses(balance: Balance) -> int:
    return max(LEAST - balance.total, balance.total - MOST, 0)


def _off(ratio: float | None) -> float:
    return 0.0 if ratio is None else abs(ratio / WANTED_RATIO - 1)
