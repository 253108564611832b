from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.errors import UserError
from lib_lora.training.config import GROUPS, TrainConfig, settings
from lib_lora.training.config_file import (
    config_from_dict,
    config_from_toml,
    config_to_toml,
    read_config,
    training_hash,
    write_config,
)
from lib_lora.training.presets import PRESETS, preset

GOOD = TrainConfig(name="mira", data_dir="images")

VALUES = {str: st.text(), bool: st.booleans(), int: st.integers(-(2**63), 2**63 - 1)}
VALUES[float] = st.floats(allow_nan=False, allow_infinity=False)
CONFIGS = st.builds(TrainConfig, **{f.name: VALUES[type(f.default)] for f in fields(TrainConfig)})


@given(CONFIGS)
def test_toml_round_trip(config):
    assert config_from_toml(config_to_toml(config)) == config


def test_file_round_trip(tmp_path):
    config = replace(GOOD, name="Mirä ✓", sample_prompts='one "quoted"\ntwo \\ #3')
    write_config(tmp_path / "config.toml", config)
    assert read_config(tmp_path / "config.toml") == config


def test_sections_and_whole_numbers_are_kohyas_way():
    assert config_from_toml("[network]\nrank = 4\nalpha = 2\n[anything]\nunet_lr = 1e-4") == replace(
        TrainConfig(), rank=4, alpha=2.0, unet_lr=1e-4
    )


def test_unknown_keys_and_broken_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"learning_rat.*my\.toml"):
        config_from_toml("learning_rat = 1", where="my.toml")
    with pytest.raises(UserError, match="not a TOML file"):
        config_from_toml("rank = = 1")
    with pytest.raises(UserError, match="no such settings file"):
        read_config(tmp_path / "none.toml")


def test_every_setting_can_be_shown():
    for name, f in settings().items():
        assert f.metadata["group"] in GROUPS and f.metadata["label"] and f.metadata["help"], name
        if isinstance(f.default, (int, float)) and not isinstance(f.default, bool):
            assert f.metadata["low"] <= f.default <= f.metadata["high"], name


def test_good_settings_pass():
    assert GOOD.check() is GOOD


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("name", ""),
        ("name", "a/b"),
        ("name", ".hidden"),
        ("data_dir", " "),
        ("repeats", "0"),
        ("repeats", "many"),
        ("rank", 0),
        ("rank", 1.5),
        ("unet_lr", math.nan),
        ("unet_lr", math.inf),
        ("unet_lr", "1e-4"),
        ("shuffle", 1),
        ("schedule", "sawtooth"),
        ("max_tokens", 100),
        ("resolution", 500),
        ("bucket_step", 12),
        ("min_timestep", 1000),
        ("loss_type", "l3"),
    ],
)
def test_bad_settings_are_named(setting, value):
    with pytest.raises(UserError) as caught:
        replace(GOOD, **{setting: value}).check()
    assert caught.value.where == setting


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("epochs", "ten", "Epochs must be a whole number, not 'ten'"),
        ("epochs", True, "Epochs must be a whole number, not true"),
        ("name", None, "Name must be text, not empty"),
    ],
)
def test_a_value_of_another_kind_is_told_in_plain_words(setting, value, message):
    for read in (config_from_dict, lambda values: TrainConfig(**values).check()):
        with pytest.raises(UserError) as error:
            read({setting: value})
        assert error.value.what == message


def test_settings_that_do_not_go_together():
    with pytest.raises(UserError, match="nothing would be learned"):
        replace(GOOD, unet_lr=0.0, te_lr=0.0).check()
    with pytest.raises(UserError, match="no warm-up"):
        replace(GOOD, schedule="constant", warmup=0.1).check()


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"min_timestep": 500, "max_timestep": 500}, "min_timestep"),
        ({"adaptive_noise_scale": 0.1}, "adaptive_noise_scale"),
        ({"timestep_distribution": "beta"}, "timestep_a"),
        ({"timestep_distribution": "logit-normal", "timestep_b": 0.0}, "timestep_b"),
    ],
)
def test_noise_that_cannot_be(changes, where):
    with pytest.raises(UserError) as caught:
        replace(GOOD, **changes).check()
    assert caught.value.where == where and caught.value.fix


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"tlora_rank": 17}, "tlora_rank"),
        ({"tlora_rank": 2, "nested_ranks": True}, "tlora_rank"),
        ({"tlora_rank": 2, "algorithm": "lokr"}, "tlora_rank"),
        ({"nested_ranks": True, "dora": True}, "nested_ranks"),
    ],
)
def test_ranks_that_cannot_be_trained_unequally(changes, where):
    replace(GOOD, rank=16, tlora_rank=16).check()
    with pytest.raises(UserError) as caught:
        replace(GOOD, rank=16, **changes).check()
    assert caught.value.where == where and caught.value.fix


def test_hash_leaves_out_defaults_so_that_new_settings_do_not_matter():
    def plain(**values):
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    assert training_hash(TrainConfig()) == plain()
    assert training_hash(replace(GOOD, rank=4)) == plain(name="mira", rank=4)


def test_hash_changes_with_the_training_only():
    assert training_hash(GOOD) == training_hash(replace(GOOD, sample_prompts="a cat", save_every_n_epochs=3))
    assert training_hash(GOOD) != training_hash(replace(GOOD, unet_lr=4e-4))


def test_whole_numbers_from_a_form():
    assert config_from_dict({"alpha": 8}).alpha == 8.0 and isinstance(config_from_dict({"alpha": 8}).alpha, float)


@pytest.mark.parametrize("p", PRESETS, ids=lambda p: p.name)
def test_presets_are_valid_and_keep_the_rest(p):
    config = p.applied_to(GOOD).check()
    assert config.name == "mira" and p.why
    assert asdict(config) | p.values == asdict(config)


GUIDES = {  # (resolution, rank, alpha, U-Net rate, text encoder rate, schedule) of the community's guides
    "Character · SD1.5": (512, 16, 8, 5e-4, 1e-4, "cosine_with_restarts"),
    "Character · PDXL": (1024, 8, 4, 1e-4, 1e-6, "rex"),
    "Character · Illustrious": (1024, 8, 4, 6e-5, 6e-6, "rex"),
    "Character · Prodigy": (512, 16, 16, 1.0, 1.0, "constant_with_warmup"),
    "Likeness": (768, 96, 72, 5e-4, 1e-4, "constant"),
    "Style · SD1.5": (512, 16, 8, 1e-4, 1e-4, "constant"),
    "Two subjects · stage 1": (640, 8, 1, 5e-4, 5e-4, "cosine"),
    "Two subjects · stage 2": (768, 8, 1, 5e-4, 5e-4, "cosine"),
}


@pytest.mark.parametrize("name", GUIDES)
def test_presets_say_what_the_guides_say(name):
    c = preset(name).applied_to(GOOD)
    assert (c.resolution, c.rank, c.alpha, c.unet_lr, c.te_lr, c.schedule) == GUIDES[name]


def test_the_rarer_settings_of_the_guides():
    xl, prodigy, likeness = (preset(n).values for n in ("Character · PDXL", "Character · Prodigy", "Likeness"))
    assert (xl["optimizer"], xl["weight_decay"], xl["ip_noise_gamma"], xl["bucket_max"]) == ("CAME", 0.08, 0.05, 2048)
    assert (prodigy["optimizer_args"], prodigy["weight_decay"], prodigy["epochs"]) == ("d_coef=2", 0.01, 20)
    assert (likeness["batch_size"], likeness["repeats"], likeness["epochs"]) == (1, "10", 8)
    assert preset("Style or concept · DoRA").values["dora"] and preset("Style · SD1.5").values["noise_offset"] == 0.1
    assert [preset(f"Two subjects · stage {i}").values["batch_size"] for i in (1, 2)] == [4, 2]


def test_unknown_preset_lists_the_others():
    with pytest.raises(UserError, match="Miniature demo"):
        preset("none")
