"""Transformers from single files, and from folders that are not as they should be."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from lib_lora.errors import UserError
from lib_lora.hosts.standalone.dit.calls import all_calls, in_patches, out_of_patches
from lib_lora.hosts.standalone.dit.model import StandaloneTransformer
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import HostPaths
from lib_lora.models.families import families
from tests.hosts.standalone import narrow

CAPTION = "mira , a girl with red hair"
SIGMA = torch.tensor([0.3, 0.8])


def host_of(root: Path) -> StandaloneHost:
    return StandaloneHost(HostPaths(root / "loras", root / "models", root / "runs", root / "data"))


def test_a_single_file_takes_the_rest_from_a_folder(tmp_path: Path) -> None:
    """In the original code's names, with q, k and v in one."""
    folder, host = narrow.write(tmp_path / "models" / "base", "z_image"), host_of(tmp_path)
    host.load("base")
    model: Any = host._model
    x = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(3))
    alone = diffusers.ZImageTransformer2DModel.from_pretrained(folder / "transformer")
    tensors = {}
    for path, tensor in alone.state_dict().items():
        path = path.replace("all_x_embedder.2-1", "x_embedder").replace("all_final_layer.2-1", "final_layer")
        path = path.replace("to_out.0", "out").replace("norm_q", "q_norm").replace("norm_k", "k_norm")
        tensors[f"model.diffusion_model.{path}"] = tensor * 1.01
    for name in [name for name in tensors if ".to_q." in name]:
        parts = [tensors.pop(name.replace("to_q", f"to_{x}")) for x in "qkv"]
        tensors[name.replace("to_q", "qkv")] = torch.cat(parts)
    file = host.paths.checkpoints / "tuned.safetensors"
    save_file(tensors, file)
    assert host.checkpoints() == ["base", "tuned"]
    cond = model.encode_text([CAPTION] * 2)
    with torch.no_grad():
        before = model.predict(x, SIGMA * 1000, cond)
        host.load("tuned")
        tuned = host._model
        assert isinstance(tuned, StandaloneTransformer) and tuned.path == file and tuned.family == "z_image"
        after = tuned.predict(x, SIGMA * 1000, cond)
        for parameter in model.transformer.parameters():
            parameter.mul_(1.01)
        wanted = model.predict(x, SIGMA * 1000, cond)
    torch.testing.assert_close(after, wanted, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(before, after, rtol=1e-3)
    (tmp_path / "other" / "models").mkdir(parents=True)
    shutil.copy(file, tmp_path / "other" / "models")
    with pytest.raises(UserError, match=r"Z-Image in one file has no text encoder .* model_index\.json"):
        host_of(tmp_path / "other").load("tuned")


def test_a_class_that_is_not_known_and_a_folder_that_is_not_whole_are_named(tmp_path: Path) -> None:
    folder = narrow.write(tmp_path / "models" / "base", "z_image")
    host = host_of(tmp_path)
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match="The vae cannot be loaded"):
        host.load("base")
    config = folder / "transformer" / "config.json"
    config.write_text(config.read_text().replace("ZImageTransformer2DModel", "SanaTransformer2DModel"))
    with pytest.raises(UserError, match="class SanaTransformer2DModel cannot be trained here"):
        host.load("base")


def test_every_class_names_a_family_and_exists(tmp_path: Path) -> None:
    for name, calls in all_calls().items():
        assert hasattr(diffusers, name) and (not calls.pipeline or hasattr(diffusers, calls.pipeline))
    x = torch.randn(2, 4, 6, 8)
    assert torch.equal(out_of_patches(in_patches(x), x), x)
    assert {"anima", "z_image", "flux1", "chroma", "klein4b"} <= set(families())
