from __future__ import annotations

from dataclasses import replace

import pytest

from lib_lora.errors import UserError
from lib_lora.training.config import TrainConfig
from lib_lora.training.events import StepDone
from lib_lora.training.preflight import _setting_advice, preflight, rate_advice
from lib_lora.training.presets import MINIATURE, PRESETS, preset
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from lib_lora.ui.check_panel import check_panel
from tests.training.worlds import image_folder, small_config


def test_it_says_what_will_happen(tiny_host, tmp_path):
    config = small_config(image_folder(tmp_path / "set"), epochs=1)
    with tiny_host.training_session() as model:
        found = preflight(config, model, tiny_host.paths)
        trainer = Trainer(RunStore(tiny_host.paths.runs).create(config), model, tiny_host.paths)
        seen = []
        encode = model.encode_text
        model.encode_text = lambda captions, **options: (seen.extend(captions), encode(captions, **options))[1]
        try:
            steps = [event for event in trainer.run() if isinstance(event, StepDone)]
        finally:
            del model.encode_text
        assert all(not layer._forward_hooks for layer in model.layers().values())
    assert found.dataset.total_steps == len(steps)
    assert found.dataset.captions == seen[:3]
    assert found.seconds > 0 and found.bytes > found.model_bytes > 0
    assert any("few" in advice.text for advice in found.advice)
    assert not any("apply" in advice.text for advice in found.advice) and not found.elsewhere
    on_a_card = replace(found, bytes=3 << 30, model_bytes=2 << 30, process=None, capacity=8 << 30)
    assert "<dd>3.0 GB of 8.0 GB, 2.0 GB of it the model</dd>" in check_panel(on_a_card)
    assert "2.0 GB of it the model; with the program itself about 4.0 GB" in check_panel(
        replace(on_a_card, process=4 << 30)
    )
    assert found.process > found.bytes


def test_larger_batches_need_more_memory(tiny_host, tmp_path):
    folder = image_folder(tmp_path / "set")
    with tiny_host.training_session() as model:
        small, large, thrifty = (
            preflight(small_config(folder, **changes), model, tiny_host.paths).bytes
            for changes in ({}, {"batch_size": 4}, {"batch_size": 4, "gradient_checkpointing": True})
        )
    assert small < large and thrifty < large


def test_it_says_where_the_file_would_do_nothing(tiny_host, tmp_path):
    folder = image_folder(tmp_path / "set")
    with tiny_host.training_session() as model:
        found = preflight(small_config(folder, algorithm="ia3"), model, tiny_host.paths)
        loha = preflight(small_config(folder, algorithm="loha"), model, tiny_host.paths)
    assert any("; Forge does not apply IA3" in advice.text for advice in found.advice)
    assert "LoHa" in loha.elsewhere and not any("apply" in advice.text for advice in loha.advice)


def test_rates_of_presets_are_meant():
    assert not any(rate_advice(preset.applied_to(TrainConfig())) for preset in PRESETS)
    assert "very high" in rate_advice(TrainConfig(unet_lr=0.006))[0].text
    miniature = preset(MINIATURE).applied_to(TrainConfig())
    assert not rate_advice(replace(miniature, resolution=64, te_lr=0.0, optimizer="AdamW"))
    assert rate_advice(replace(miniature, resolution=512)) and rate_advice(replace(miniature, unet_lr=0.05))


def test_the_miniature_learns_in_the_steps_of_its_preset():
    def few(config: TrainConfig, steps: int) -> bool:
        return any("are few" in advice.text for advice in _setting_advice(config, steps))

    miniature = preset(MINIATURE).applied_to(TrainConfig())
    assert not few(miniature, 36) and few(miniature, 10)
    assert few(TrainConfig(), 36) and not few(TrainConfig(), 100)


def test_empty_folders_and_bad_prompts_are_said(tiny_host, tmp_path):
    (tmp_path / "empty").mkdir()
    with tiny_host.training_session() as model:
        with pytest.raises(UserError, match="No usable image"):
            preflight(small_config(tmp_path / "empty"), model, tiny_host.paths)
        config = small_config(image_folder(tmp_path / "set"), sample_prompts="a --w x")
        found = preflight(config, model, tiny_host.paths)
    assert any("line 1: --w x is passed over" in advice.text for advice in found.advice)


def test_colour_variations_of_a_style_are_said():
    def said(**changes):
        return [advice.text for advice in _setting_advice(TrainConfig(color_aug=True, **changes), 1000)]

    assert any("palette" in text for text in said()) and not any("palette" in text for text in said(trigger="mira"))
