"""What goes to kohya's trainer: all that it can say comes back, and what it cannot say is named."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from lib_lora.training.config import TrainConfig, default_of, settings
from lib_lora.training.importers import import_config
from lib_lora.training.importers.export import IN_OTHER_WORDS, _meaning, export_kohya
from lib_lora.training.importers.report import UNKNOWN
from lib_lora.training.optimizers import RECIPES

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
    values["repeats"] = draw.choice(["auto", "5"])
    values["sample_prompts"] = draw.choice(["", "a girl --n bad\n# remark\na boy --d 5"])
    return TrainConfig(**values)


def read_back(config: TrainConfig, tmp_path) -> TrainConfig:
    exported = export_kohya(config)
    (tmp_path / "kohya.toml").write_text(exported.text, encoding="utf-8")
    if exported.prompts_file:
        (tmp_path / exported.prompts_file).write_text(exported.prompts, encoding="utf-8")
    found = import_config(tmp_path / "kohya.toml")
    assert not found.with_outcome(UNKNOWN)
    return found.applied_to(TrainConfig(trigger=config.trigger))


def test_what_comes_back_is_what_went_out_but_for_what_is_named(tmp_path):
    draw = random.Random(5)
    known = settings()
    for _ in range(400):
        config = some_config(draw)
        again = read_back(config, tmp_path)
        named = " ".join(export_kohya(config).left_out)
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
    for _ in range(400):
        once = read_back(some_config(draw), tmp_path)
        assert read_back(once, tmp_path) == replace(once, trigger="")


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
