"""What goes to kohya's trainer: all that it can say comes back, and what it cannot say is named."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from typing import Any

import pytest

from lib_lora.training.config import TrainConfig, default_of, settings
from lib_lora.training.importers import import_config
from lib_lora.training.importers.export import IN_OTHER_WORDS, _meaning, export_kohya
from lib_lora.training.importers.kohya_flow import OF_FAMILY
from lib_lora.training.importers.report import UNKNOWN
from lib_lora.training.optimizers import RECIPES
from tests.rounds import rounds

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

FAMILIES = ("", "sd2", "sdxl", *OF_FAMILY)
BETAS_UNUSED = {name for name, recipe in RECIPES.items() if recipe.betas is None}


def some_config(draw: random.Random) -> TrainConfig:
    """Settings of any kind at once, within their ranges."""
    values: dict[str, Any] = {}
    for name, f in settings().items():
        if draw.random() < 0.6:
            continue
        low, high, kind = f.metadata["low"], f.metadata["high"], type(default_of(f))
        if f.metadata["choices"]:
            values[name] = draw.choice(f.metadata["choices"])
        elif kind is bool:
            values[name] = draw.random() < 0.5
        elif low is not None:
            ends = draw.choice([low, high, draw.uniform(low, high), draw.uniform(low, min(high, 8 + low))])
            values[name] = kind(ends)
    values |= {
        "name": draw.choice(["mira", "mira v1.5", 'a "b"', "日本"]),
        "data_dir": draw.choice(["sets", "C:\\sets\\1"]),
    }
    values["caption_prefix"] = draw.choice(["", "best, "])
    values["max_tokens"] = draw.choice([75, 150, 225])
    values["block_lr"] = draw.choice(["", "OUTS", "1,0,0.5" + ",1" * 9 + ",0.25" + ",1" * 13, "IN04.attn=0.5"])
    values["block_ranks"] = draw.choice(["", "IN01-IN02=4, M00=8/2", "OUT03-OUT05=0", "te=2"])
    values["conv_block_ranks"] = draw.choice(["", "OUT03=2/1"]) if values.get("conv_rank") else ""
    values["optimizer_args"] = draw.choice(["", "d_coef=2", "eps=1e-08 d_coef=0.5"])
    values["apply_loras"] = draw.choice(["", "turbo:0.5", '"a, b":1,sub/c:-0.25', "style:1:OUTS"])
    values["repeats"] = draw.choice(["auto", "5"])
    values["sample_prompts"] = draw.choice(["", "a girl --n bad\n# remark\na boy --d 5"])
    return TrainConfig(**values)


def read_back(config: TrainConfig, tmp_path, family: str = "") -> TrainConfig:
    exported = export_kohya(config, family)
    (tmp_path / "kohya.toml").write_text(exported.text, encoding="utf-8")
    if exported.prompts_file:
        (tmp_path / exported.prompts_file).write_text(exported.prompts, encoding="utf-8")
    found = import_config(tmp_path / "kohya.toml")
    assert not found.with_outcome(UNKNOWN)
    return found.applied_to(TrainConfig(trigger=config.trigger))


def test_what_comes_back_is_what_went_out_but_for_what_is_named(tmp_path):
    draw = random.Random(5)
    known = settings()
    for i in range(rounds(120)):
        config, family = some_config(draw), FAMILIES[i % len(FAMILIES)]
        again = read_back(config, tmp_path, family)
        named = " ".join(export_kohya(config, family).left_out)
        for name, f in known.items():
            if name in IN_OTHER_WORDS - {"sample_prompts"} or (
                name in ("beta1", "beta2") and config.optimizer in BETAS_UNUSED
            ):
                continue
            same = _meaning(again, name) == _meaning(config, name)
            assert (
                same or (name == "sample_prompts" and not config.sample_prompts) or f"{f.metadata['label']} = " in named
            ), name


def test_a_second_time_changes_nothing(tmp_path):
    draw = random.Random(6)
    for i in range(rounds(120)):
        family = FAMILIES[i % len(FAMILIES)]
        once = read_back(some_config(draw), tmp_path, family)
        assert read_back(once, tmp_path, family) == replace(once, trigger="")


LEVELS = [("uniform", 0.0, 1.0, 1.0), ("uniform", 0.0, 1.0, 3.0), ("logit-normal", 0.0, 1.0, 1.0),
          ("logit-normal", 0.0, 1.5, 2.02), ("logit-normal", 0.0, 1.0, 0.0), ("logit-normal", -0.5, 2.0, 3.0),
          ("uniform", 0.0, 1.0, 0.0)]  # fmt: skip


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("family", OF_FAMILY)
def test_a_flows_noise_levels_come_back(family, levels, tmp_path):
    distribution, a, b, shift = levels
    config = TrainConfig(name="mira", data_dir="sets", timestep_distribution=distribution, timestep_a=a, timestep_b=b,
                         flow_shift=shift, min_snr_gamma=0.0)  # fmt: skip
    exported = export_kohya(config, family)
    assert exported.script == OF_FAMILY[family].script and f'"{OF_FAMILY[family].module}"' in exported.text
    again = read_back(config, tmp_path, family)
    came_back = (again.timestep_distribution, again.timestep_a, again.timestep_b, again.flow_shift) == levels
    by_resolution = shift == 0 and (family.startswith("sd35") or (distribution == "uniform" and family != "lumina2"))
    assert came_back == (not by_resolution) == (exported.left_out == {})  # which those trainers cannot do
    without = export_kohya(replace(config, min_snr_gamma=5.0), family)
    assert "a flow is trained" in without.left_out["Min-SNR gamma = 5.0"] and "\nmin_snr" not in without.text


@pytest.mark.parametrize(
    ("family", "lines"),
    [
        ("flux1", ["guidance_scale = 1.0", 'model_prediction_type = "raw"']),
        ("chroma", ['model_type = "chroma"', "guidance_scale = 0.0", "apply_t5_attn_mask = true"]),
        ("sd35_large", ["training_shift = 3.0", 'weighting_scheme = "logit_normal"', "logit_mean = 0.5"]),
        ("lumina2", ["logit_mean = -0.5", "discrete_flow_shift = 3.0"]),  # whose draws run from noise to picture
        ("sd2", ["v2 = true"]),
    ],
)
def test_what_kohyas_trainer_of_a_family_needs(family, lines):
    levels = {"timestep_distribution": "logit-normal", "timestep_a": 0.5, "flow_shift": 3.0}
    text = export_kohya(TrainConfig(name="mira", **levels), family).text
    assert [line for line in lines if line not in text.splitlines()] == []


def test_the_scripts_of_other_families():
    config = TrainConfig(name="mira")
    scripts = {family: export_kohya(config, family).script for family in ("", "sd1", "sd2", "sdxl", "vega", "other")}
    assert {family for family, script in scripts.items() if script == "sdxl_train_network.py"} == {"sdxl", "vega"}
    assert {script for family, script in scripts.items() if family not in ("sdxl", "vega")} == {"train_network.py"}
    left_out = export_kohya(config, "z_image").left_out
    assert "trains no such model" in left_out["Model = Z-Image"]


def test_bounds_that_a_trainer_does_not_heed_are_named():
    config = TrainConfig(name="mira", min_timestep=200, min_snr_gamma=0.0)
    exported = export_kohya(config, "flux1")
    assert "does not heed" in exported.left_out["First timestep = 200"] and "\nmin_timestep" not in exported.text
    assert export_kohya(config, "sd35_medium").left_out == {}


def test_cycles_and_lowest_rate_go_where_kohyas_schedules_heed_them():
    cosine = export_kohya(TrainConfig(name="mira", schedule="cosine", min_lr=0.1, cycles=3))
    assert cosine.left_out == {} and "num_cycles" not in cosine.text and "min_lr_ratio = 0.1" in cosine.text
    linear = export_kohya(TrainConfig(name="mira", schedule="linear", min_lr=0.1))
    assert list(linear.left_out) == ["Lowest rate = 0.1"] and "min_lr_ratio" not in linear.text


def test_loras_that_act_along_have_their_paths(tmp_path):
    for name in ("turbo", "sub/a, b"):
        (tmp_path / f"{name}.safetensors").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.safetensors").touch()
    config = TrainConfig(name="mira", apply_loras='turbo:0.5,"a, b":-1,gone:1')
    exported = export_kohya(config, loras=[tmp_path])
    document = tomllib.loads(exported.text)
    assert document["base_weights_multiplier"] == [0.5, -1.0, 1.0] and exported.left_out == {}
    assert document["base_weights"] == [
        str(tmp_path / "turbo.safetensors"), str(tmp_path / "sub/a, b.safetensors"), "gone.safetensors"
    ]  # fmt: skip
    blocks = export_kohya(replace(config, apply_loras="turbo:1:OUTS"))
    assert "per block" in " ".join(blocks.left_out.values()) and "base_weights =" not in blocks.text


def test_levels_that_kohyas_trainers_lack_are_named():
    config = TrainConfig(name="mira", timestep_distribution="beta", timestep_a=2.0, flow_shift=3.0, min_snr_gamma=0.0)
    named = " ".join(export_kohya(config, "flux1").left_out)
    assert "Timestep distribution = beta" in named and "guidance" not in named
    dora = export_kohya(replace(config, dora=True), "flux1")  # LyCORIS' module says no family
    assert dora.script == "flux_train_network.py" and "Flow shift = 3.0" in " ".join(dora.left_out)


def test_what_kohya_cannot_say_stands_in_the_file_and_in_the_result():
    exported = export_kohya(TrainConfig(name="mira", ema_decay=0.99, unmasked_weight=0.1, layers="attn2"))
    assert {label.split(" = ")[0] for label in exported.left_out} == {
        "Moving average",
        "Weight outside of masks",
        "Layers",
    }
    assert (
        exported.text.count("# Not in this file: ") == 3
        and "# Not in this file: Moving average = 0.99" in exported.text
    )
    assert export_kohya(TrainConfig(name="mira", trigger="mira")).left_out == {}
