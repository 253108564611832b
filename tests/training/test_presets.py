from __future__ import annotations

import pytest

from lib_lora.models.base import ModelInfo
from lib_lora.models.families import families
from lib_lora.training.config import TrainConfig
from lib_lora.training.presets import PRESETS, usual_preset


@pytest.mark.parametrize(
    ("name", "family", "resolution"),
    [("miniature", "sd1", 128), ("animefull", "sd1", 512), ("noob", "sdxl", 1024)],
)
def test_a_checkpoint_starts_with_a_preset_for_its_family(name, family, resolution):
    model = ModelInfo(name, None, family, "epsilon", 8, 12)
    assert usual_preset(model).applied_to(TrainConfig()).resolution == resolution


def test_every_family_has_a_preset_to_start_with():
    for one in families().values():
        if one.prediction == "flow":
            config = usual_preset(ModelInfo("a", None, one.name, "flow", 8, 1)).applied_to(TrainConfig())
            assert config.bucket_step == one.bucket_step and config.timestep_distribution == "logit-normal", one
            assert config.te_lr == 0 and config.flow_shift in (0, 1, one.shift), one


def test_without_a_checkpoint_the_first_preset_is_offered():
    assert usual_preset(None) is PRESETS[0]
