"""What is said of a LoRA file, against numbers that are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lib_lora.adapters import Network, NetworkSpec
from lib_lora.adapters.file import open_lora, write_lora
from lib_lora.errors import UserError
from lib_lora.tools.inspection import effective_rank, look_at, measure

Q = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
K = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
TAGS = {"10_mira": {"mira": 4, "red hat ": 2}, "1_rin": {"rin": 1, "mira": 1, "odd": "three"}}


def lora(folder: Path, metadata: dict[str, str], **layers: tuple[float, ...]) -> Path:
    """A file whose layers have these singular values."""
    modules = {}
    for key, values in layers.items():
        sigma = torch.tensor(values)
        side, rank = (768 if "attn2" in key else 320), len(values)
        down = torch.eye(side)[:rank] * sigma[:, None]
        modules[key] = {
            "lora_up.weight": torch.eye(320)[:, :rank].contiguous(),
            "lora_down.weight": down,
            "alpha": torch.tensor(float(rank)),
        }
    return write_lora(folder / "odd.safetensors", modules, metadata, torch.float32)


def test_ranks_energy_and_strength_are_those_of_the_singular_values(tmp_path: Path) -> None:
    path = lora(tmp_path, {}, **{Q: (4.0, 1.0, 0.0, 0.0), K: (2.0, 2.0, 2.0, 2.0)})
    base = {Q: torch.full((320, 320), 0.1)}  # of norm 32
    seen = []
    found = measure(open_lora(path), base, "base", lambda done, total: seen.append((done, total)))
    down, middle = found.blocks
    assert (down.block, middle.block, found.base) == ("IN01", "M00", "base") and seen[-1] == (2, 2)
    assert middle.norm == pytest.approx(17**0.5) and middle.against == pytest.approx(17**0.5 / 32)
    assert (middle.rank, middle.at90, middle.at99) == (4, 1, 2) and down.against is None
    assert down.effective == pytest.approx(4) and down.share == pytest.approx(16 / 33)
    assert found.curve == pytest.approx((20 / 33, 25 / 33, 29 / 33, 1)) and found.rank_for(0.7) == 2
    assert effective_rank(torch.tensor([5.0, 0.0])) == pytest.approx(1) and effective_rank(torch.zeros(2)) == 0


def test_what_is_odd_is_said(tmp_path: Path) -> None:
    path = lora(tmp_path, {"ss_base_model_version": "sdxl_base_v1-0", "ss_network_dim": "32"}, **{K: (0.0, 0.0)})
    path = path.rename(tmp_path / "zero.safetensors")
    facts = look_at(path)
    assert any("calls its base model sdxl_base_v1-0" in text for text in facts.remarks)
    assert any("trained at rank 32, and has at most 2" in text for text in facts.remarks)
    assert measure(open_lora(path)).remarks == ("It does nothing in IN01, although it has layers there",)
    assert "nothing about how it was trained" in look_at(lora(tmp_path, {}, **{K: (1.0,)})).remarks[0]


def test_the_header_and_the_card_are_read(tmp_path: Path) -> None:
    about = {
        "ss_base_model_version": "sd_v1", "ss_tag_frequency": json.dumps(TAGS), "ss_unet_lr": "0.0001",
        "ss_dataset_dirs": '{"10_mira": {"n_repeats": 10, "img_count": 4}}', "ss_noise_offset": "None",
        "modelspec.trigger_phrase": "mira",
    }  # fmt: skip
    path = lora(tmp_path, about, **{K: (1.0, 1.0)})
    facts = look_at(path)
    assert facts.kinds == ("LoRA",) and facts.ranks == {2: 1} and facts.trigger == "mira" and facts.weight is None
    assert facts.tags == (("mira", 5), ("red hat", 2), ("rin", 1)) and facts.folders == {"10_mira": (4, 10)}
    assert facts.settings == {"Learning rate": "0.0001"} and "AUTOMATIC1111" in facts.programs[0]
    path.with_suffix(".json").write_text('{"activation text": "mira, hat", "preferred weight": 0.8}', encoding="utf-8")
    assert (look_at(path).trigger, look_at(path).weight) == ("mira, hat", 0.8)
    path.with_suffix(".json").write_text("[]", encoding="utf-8")
    assert look_at(path).trigger == "mira"


@pytest.mark.parametrize("algorithm", ["loha", "lokr", "ia3"])
def test_other_kinds_are_measured_too(tmp_path: Path, algorithm: str) -> None:
    layers = {K: torch.nn.Linear(768, 320)}
    network = Network.create(layers, NetworkSpec(rank=2, alpha=2, algorithm=algorithm), 1)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1
    path = write_lora(tmp_path / "kind.safetensors", network.modules(), {}, torch.float32)
    found = measure(open_lora(path), {K: layers[K].weight.detach()}, "base")
    assert [block.block for block in found.blocks] == ["IN01"] and found.blocks[0].against > 0 and not found.unread
    alone = measure(open_lora(path))
    assert bool(alone.unread) == (algorithm == "ia3") == ("at hand" in " ".join(alone.remarks))


def test_what_is_broken_is_refused(tmp_path: Path) -> None:
    path = lora(tmp_path, {}, **{K: (1.0, 1.0)})
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    with pytest.raises(UserError):
        look_at(path)
