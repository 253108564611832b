"""Pictures in styles of their own: what the miniature's autoencoder is shown, and what it keeps of pictures so dark."""

from __future__ import annotations

import random

import numpy as np
import torch

from lib_lora.demo import CHECKPOINT
from lib_lora.demo.recipe.autoencoder import crops
from lib_lora.demo.recipe.pictures import Pictures, prepare
from lib_lora.demo.recipe.styles import random_style
from lib_lora.demo.world import STYLES, Spec, render
from lib_lora.hosts.standalone.checkpoint import load_checkpoint


def pixels(number: int, spec: Spec) -> np.ndarray:
    return np.asarray(render(spec, random_style(random.Random(number))), np.int16)


def test_a_random_style_is_drawn_the_same_each_time():
    for number in range(8):
        assert np.array_equal(pixels(number, Spec()), pixels(number, Spec()))
    assert not np.array_equal(pixels(1, Spec()), pixels(2, Spec()))


def test_random_styles_are_none_that_has_a_name():
    for style in (*STYLES, "neon"):
        known = np.asarray(render(Spec(style=style)), np.int16)
        assert all(np.abs(pixels(number, Spec()) - known).mean() > 2 for number in range(60))


def test_restyled_pictures_show_the_same_specs_and_are_kept(tmp_path):
    usual, restyled = (prepare(tmp_path, 3, seed=0, restyled=r) for r in (False, True))
    assert restyled["square"].specs == usual["square"].specs
    assert not np.array_equal(restyled["square"].pixels, usual["square"].pixels)
    assert np.array_equal(prepare(tmp_path, 3, seed=0, restyled=True)["square"].pixels, restyled["square"].pixels)


def test_crops_are_of_all_sets_alike():
    sets = [Pictures(np.full((3, 128, 128, 3), level, np.uint8), []) for level in (0, 255)]
    means = crops(sets, 64, np.random.default_rng(0)).mean((1, 2, 3)).tolist()
    assert sorted(means) == [-1.0] * 4 + [1.0] * 4


def test_the_autoencoder_keeps_the_shades_of_dark_pictures():
    """Before it had seen any, white, grey and blue were one blue, up to 0.2 of 2 darker than they are."""
    specs = [Spec(style="neon", background=name, seed=number) for number, name in enumerate(("white", "grey", "blue"))]
    pictures = Pictures(np.stack([np.asarray(render(spec)) for spec in specs]), specs).tensor(slice(None))
    vae = load_checkpoint(CHECKPOINT).vae
    with torch.inference_mode():
        again = vae.decode(vae.encode(pictures).latent_dist.mean).sample
    corners = [x[:, :, :16, :16].mean((2, 3)) for x in (again, pictures)]
    assert (corners[0] - corners[1]).abs().max() < 0.06
