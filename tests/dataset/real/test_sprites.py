"""Planted copies and variants of real drawings are found and told apart at the default setting."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lib_lora.dataset.collection.headers import Headers
from lib_lora.dataset.collection.opening import open_folders
from lib_lora.dataset.duplicates.groups import Duplicates, find_duplicates
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.pictures.masks import plan_alpha_masks
from tests.dataset.real.emoji import Emoji
from tests.dataset.real.sprites import Sprites

BAR = 0.98


def search(folder):
    pictures = open_folders([folder], Headers(folder / ".headers.json")).pictures
    work = find_duplicates(pictures)
    while True:
        try:
            next(work)
        except StopIteration as finished:
            return pictures, finished.value


def names_of(pictures, found: Duplicates, variant: bool) -> set[frozenset[str]]:
    return {
        frozenset({pictures[pair.first].path.stem, pictures[pair.second].path.stem})
        for pair in found.pairs
        if pair.variant == variant
    }


@pytest.mark.parametrize(("source", "seed", "pictures"), [("sprites", 1, 133), ("stamps", 1, 200)])
def test_copies_and_variants(source, seed, pictures, request, tmp_path):
    """The limit between the two was chosen on the sprites of seed 0; these pictures had no part in it."""
    truth = request.getfixturevalue(source).plant(tmp_path / "set", seed)
    assert truth.pictures == pictures
    read, found = search(tmp_path / "set")
    for variant, planted in ((False, truth.copies), (True, truth.variants)):
        seen = names_of(read, found, variant)
        assert len(seen & planted) / len(seen) >= BAR and len(seen & planted) / len(planted) >= BAR


def test_the_same_subject_in_another_style_is_no_copy(emoji: Emoji, tmp_path):
    """Nothing was chosen on these drawings."""
    truth = emoji.plant(tmp_path / "set", seed=0)
    assert truth.pictures == 200
    read, found = search(tmp_path / "set")
    seen = names_of(read, found, variant=False)
    assert len(seen & truth.copies) / len(seen) >= BAR and len(seen & truth.copies) / len(truth.copies) >= BAR


def test_masks_are_the_transparency_of_the_drawing(sprites: Sprites, tmp_path):
    sprite = sprites.sprite("sylvie green smile")
    sprite.save(tmp_path / "a.png")
    editor = DatasetEditor([tmp_path], tmp_path / ".cache")
    editor.apply(plan_alpha_masks(editor.pictures))
    assert np.array_equal(np.asarray(Image.open(editor.pictures[0].mask)), np.asarray(sprite)[..., 3])
