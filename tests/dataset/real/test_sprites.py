"""Planted copies and variants of real drawings are found and told apart at the default setting."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lib_lora.dataset.collection.headers import Headers
from lib_lora.dataset.collection.opening import open_folders
from lib_lora.dataset.duplicates.groups import Duplicates, find_duplicates
from lib_lora.dataset.duplicates.search import SearchOptions
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.pictures.masks import plan_alpha_masks
from tests.dataset.real.sprites import POSES, Sprites

BAR = 0.98


def search(folder, options=None):
    pictures = open_folders([folder], Headers(folder / ".headers.json")).pictures
    work = find_duplicates(pictures, options)
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


def test_copies_and_variants(sprites: Sprites, tmp_path):
    truth = sprites.plant(tmp_path / "set", seed=0)
    assert truth.pictures == 140
    pictures, found = search(tmp_path / "set")
    for variant, planted in ((False, truth.copies), (True, truth.variants)):
        seen = names_of(pictures, found, variant)
        assert len(seen & planted) / len(seen) >= BAR and len(seen & planted) / len(planted) >= BAR


def test_variants_before_different_backgrounds(sprites: Sprites, tmp_path):
    for pose in POSES:
        for number, (name, colour) in enumerate(zip(pose[:2] + pose[:1], ("white", "grey", "navy"), strict=True)):
            flat = Image.new("RGBA", (500, 760), colour)
            flat.alpha_composite(sprites.sprite(name).resize((320, 700)), (20 + 40 * number, 40))
            flat.convert("RGB").save(tmp_path / f"{pose[0].replace(' ', '-')}-{number}.png")
    pictures, found = search(tmp_path, SearchOptions(ignore_background=True))
    stems = [pose[0].replace(" ", "-") for pose in POSES]
    copies, variants = names_of(pictures, found, False), names_of(pictures, found, True)
    assert {frozenset({f"{stem}-0", f"{stem}-2"}) for stem in stems} <= copies
    assert {frozenset({f"{stem}-0", f"{stem}-1"}) for stem in stems} <= variants | copies


def test_masks_are_the_transparency_of_the_drawing(sprites: Sprites, tmp_path):
    sprite = sprites.sprite("sylvie green smile")
    sprite.save(tmp_path / "a.png")
    editor = DatasetEditor([tmp_path], tmp_path / ".cache")
    editor.apply(plan_alpha_masks(editor.pictures))
    assert np.array_equal(np.asarray(Image.open(editor.pictures[0].mask)), np.asarray(sprite)[..., 3])
