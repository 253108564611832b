from __future__ import annotations

import torch

from lib_lora.training.text_cache import TextCache


def test_same_conditioning_as_without_cache(tiny_host):
    short, long = "a girl", ", ".join(["blue hair"] * 60)
    with tiny_host.training_session() as model:
        cache = TextCache(model, max_tokens=225, clip_skip=1)
        with torch.no_grad():
            plain = model.encode_text([short, long], max_tokens=225, clip_skip=1)
        for _ in range(2):
            torch.testing.assert_close(cache.encode([short, long]), plain, rtol=1e-4, atol=1e-4)
        assert cache.encode([short]).shape[1] == 77
    assert set(cache.known) == {short, long, ""}
