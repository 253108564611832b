"""The web UI's upscalers and deepbooru, through the host."""

from __future__ import annotations

import pytest
from PIL import Image

from lib_lora.dataset.tagging.choice import TagChoice
from lib_lora.dataset.tagging.host_tagger import HostTagger
from lib_lora.errors import UserError


def test_upscalers_are_the_web_uis_and_sizes_are_exact(webui):
    assert webui.host.upscalers() == ["Lanczos", "Double"]
    image = Image.new("RGB", (15, 21), "red")
    assert webui.host.upscale("Double", image, 1.9).size == (28, 40)
    from modules import shared

    scaler = shared.sd_upscalers[2].scaler
    assert scaler.calls == 1
    assert webui.host.upscale("Double", image, 1.0).size == (15, 21)
    assert scaler.calls == 1  # A1111 would run its model three times
    with pytest.raises(UserError, match="no such upscaler"):
        webui.host.upscale("None", image, 2)


def test_deepbooru_tags_with_our_thresholds(webui):
    assert webui.host.taggers() == ["deepbooru"]
    red, blue = Image.new("RGB", (40, 60), "red"), Image.new("RGB", (60, 40), "blue")
    tagger = HostTagger(webui.host, "deepbooru", TagChoice(threshold=0.4))
    assert tagger.tag([red, blue]) == [("red theme",), ("blue theme",)]
    rated = HostTagger(webui.host, "deepbooru", TagChoice(threshold=0.4, rating=True))
    assert rated.tag([red]) == [("red theme", "safe")] and rated.key != tagger.key
    from modules import deepbooru

    assert deepbooru.model.started == deepbooru.model.stopped == 3
    with pytest.raises(UserError, match="no such tagger"):
        webui.host.tag_probabilities("clip", red)
