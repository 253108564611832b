"""Pictures that are held out of training, to see whether what is learned holds for pictures never seen."""

from __future__ import annotations

from dataclasses import replace

from lib_lora.dataset.scan import Item, Scan
from lib_lora.errors import UserError
from lib_lora.randomness import rng


def split(scan: Scan, share: float, seed: int) -> tuple[Scan, Scan]:
    """(for training, held out): a random ``share`` of the pictures, at least one, is never trained on.

    The held-out ones count once each, whatever their folder's repeats; regularisation images are never held out. The
    choice depends on the seed alone.

    Raises:
        UserError: there are too few pictures to hold one out.
    """
    if not share:
        return scan, replace(scan, items=())
    candidates = [i for i, item in enumerate(scan.items) if not item.concept.regularisation]
    count = max(1, round(share * len(candidates)))
    if count >= len(candidates):
        fix = "Set the held-out share to 0, or add pictures"
        raise UserError(f"Of {len(candidates)} picture none would be left", where="validation_split", fix=fix)
    chosen = set(rng(seed, "validation", 0).sample(candidates, count))
    kept = tuple(item for i, item in enumerate(scan.items) if i not in chosen)
    held = tuple(_once(scan.items[i]) for i in sorted(chosen))
    return replace(scan, items=kept), replace(scan, items=held)


def _once(item: Item) -> Item:
    return replace(item, concept=replace(item.concept, repeats=1))
