from __future__ import annotations

import pytest

from lib_lora.errors import UserError
from lib_lora.training.config import TrainConfig
from lib_lora.training.variants import variants

CONFIG = TrainConfig(name="mira", data_dir="images")


def test_every_combination_with_a_name_and_a_label():
    found = variants(CONFIG, "rank = 4, 8\n\nunet_lr = 1e-4, 5e-4\n")
    assert [(v.config.rank, v.config.unet_lr) for v in found] == [(4, 1e-4), (4, 5e-4), (8, 1e-4), (8, 5e-4)]
    assert found[0].label == "rank 4, unet_lr 0.0001" and found[0].config.name == "mira-rank4-unet_lr0.0001"
    assert len({v.config.name for v in found}) == 4 and all(v.config.data_dir == "images" for v in found)


def test_settings_by_kohyas_name_and_by_label():
    assert [v.config.min_snr_gamma for v in variants(CONFIG, "Min-SNR gamma=1,5")] == [1, 5]
    assert [v.config.rank for v in variants(CONFIG, "network_dim = 4, 4, 2")] == [4, 2]
    assert [v.config.flip for v in variants(CONFIG, "flip = yes, no")] == [True, False]
    assert [v.config.trigger for v in variants(CONFIG, "trigger = a, b | c")] == ["a, b", "c"]


@pytest.mark.parametrize(("text", "match"), [
    ("", "Nothing is varied"), ("rank", "no “=”"), ("size = 3", "No setting is called 'size'"),
    ("rank = four", "line 1 — Use numbers"), ("flip = perhaps", "Use yes and no"), ("rank = 0, 4", "Rank cannot be 0"),
    ("name = a, b", "No setting"), ("rank = 1,2,3,4,5\nalpha = 1,2,3,4,5", "25 runs"),
])  # fmt: skip
def test_mistakes_are_named(text, match):
    with pytest.raises(UserError, match=match):
        variants(CONFIG, text)
