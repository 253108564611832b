from __future__ import annotations

import base64
import io
import json

import pytest
import torch
from PIL import Image

from lib_lora.adapters.base_weights import CheckpointWeights
from lib_lora.adapters.file import model_hash, read_lora, to_delta, write_lora
from lib_lora.errors import UserError
from lib_lora.models.families import family
from lib_lora.tools.blocks import bake
from lib_lora.tools.export import Card, export_lora
from lib_lora.tools.pictures import read_png

CARD = Card("mira, red hat", 0.8, "Epoch 4", "lowres")


@pytest.fixture
def grid() -> Image.Image:
    image = Image.new("RGB", (2048, 64), "teal")
    image.info["parameters"] = "mira\nSteps: 2"
    return image


def test_the_file_is_the_same_under_its_final_name_with_a_card(tiny_host, make_lora, grid, tmp_path):
    source = make_lora("mira-000004", seed=1)
    written = export_lora(source, tmp_path / "mira.safetensors", CARD, grid)
    assert [path.name for path in written] == ["mira.safetensors", "mira.json", "mira.preview.png"]
    assert model_hash(written[0]) == model_hash(source)
    about = read_lora(written[0]).metadata
    assert about["ss_output_name"] == about["modelspec.title"] == "mira"
    assert about["ss_base_model_version"] == "sd_v1"
    assert about["modelspec.trigger_phrase"] == "mira, red hat" and about["modelspec.usage_hint"] == "weight 0.8"
    thumbnail = base64.b64decode(about["modelspec.thumbnail"].partition("base64,")[2])
    assert Image.open(io.BytesIO(thumbnail)).size == (256, 8)
    assert json.loads(written[1].read_text(encoding="utf-8")) == {
        "description": "Epoch 4", "sd version": "SD1", "activation text": "mira, red hat", "preferred weight": 0.8,
        "negative text": "lowres", "notes": "",
    }  # fmt: skip
    preview = read_png(written[2])
    assert preview.size == (1024, 32) and preview.info["parameters"] == "mira\nSteps: 2"


def test_weight_and_blocks_are_built_in(tiny_host, make_lora, tmp_path):
    source = make_lora("mira", seed=1)
    only_text = dict(zip(("BASE", *(f"IN{i:02}" for i in (1, 2, 4, 5, 7, 8)), "M00",
                          *(f"OUT{i:02}" for i in range(3, 12))), [1.0] + [0.0] * 16, strict=True))  # fmt: skip
    target = tmp_path / "half.safetensors"
    assert export_lora(source, target, Card(), weight=0.5, blocks=only_text) == [target, tmp_path / "half.json"]
    old, new = read_lora(source).modules, read_lora(target).modules
    assert new.keys() == {key for key in old if key.startswith("lora_te_")}
    for key in new:
        assert torch.allclose(to_delta(new[key]).dense(), 0.5 * to_delta(old[key]).dense(), atol=1e-3)


@pytest.mark.parametrize("taken", ["mira.safetensors", "mira.json", "mira.preview.png"])
def test_nothing_is_overwritten(tiny_host, make_lora, grid, tmp_path, taken):
    source = make_lora("source", seed=1)
    (tmp_path / taken).write_bytes(b"mine")
    with pytest.raises(UserError, match="of this name already"):
        export_lora(source, tmp_path / "mira.safetensors", CARD, grid)
    assert [path.name for path in tmp_path.glob("mira.*")] == [taken]


def test_a_weight_is_built_into_a_dora_with_the_checkpoint_it_acts_on(tiny_checkpoint, tmp_path):
    base = CheckpointWeights(tiny_checkpoint)
    key = next(key for key in base if key.endswith("_attn1_to_q"))
    o, i = base[key].shape
    g = torch.Generator().manual_seed(0)
    params = {"lora_up.weight": torch.randn(o, 2, generator=g), "lora_down.weight": torch.randn(2, i, generator=g)}
    params["dora_scale"] = 1 + torch.rand(1, i, generator=g)
    source = write_lora(tmp_path / "dora.safetensors", {key: params}, {}, None)
    with pytest.raises(UserError, match="depends on the checkpoint"):
        export_lora(source, tmp_path / "a.safetensors", Card(), weight=0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["dora.safetensors"]
    want = 0.5 * to_delta(params, base[key].float()).dense()
    kept, _ = export_lora(source, tmp_path / "b.safetensors", Card(), weight=0.5, base=lambda: base)
    blocks = dict.fromkeys(family("sd1").blocks.layouts[0], 1.0)
    baked = bake(source, blocks, tmp_path / "c.safetensors", 0.5, base=lambda: base)
    for path in (kept, baked):
        assert torch.allclose(to_delta(read_lora(path).modules[key]).dense(), want, atol=2e-3)
