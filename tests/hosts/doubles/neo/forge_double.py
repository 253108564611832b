"""Neo's engine: Forge's, but for what moved elsewhere or went away."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import torch
from backend import memory_management

_PATH = Path(__file__).parents[1] / "forge" / "forge_double.py"
_SPEC = importlib.util.spec_from_file_location("forge_engine_double", _PATH)
_FORGE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_FORGE)
del _FORGE.IntegratedAutoencoderKL.scaling_factor, _FORGE.IntegratedAutoencoderKL.shift_factor
for flag in ("is_sd2", "is_sd3"):
    delattr(_FORGE.StableDiffusion, flag)


class StableDiffusion(_FORGE.StableDiffusion):
    def __init__(self, path):
        super().__init__(path)
        vae = self.forge_objects.vae.first_stage_model
        vae.latent_format = SimpleNamespace(scale_factor=0.18215)

    @torch.inference_mode()
    def decode_first_stage(self, z):
        memory_management.load_model_gpu(self.forge_objects.vae.patcher)
        vae = self.forge_objects.vae.first_stage_model
        return vae.decode(z / vae.latent_format.scale_factor)
