"""txt2img in inference mode: the model is loaded if need be, the LoRAs of the prompt patched in, and left there."""

import os
import re
from dataclasses import dataclass, field
from itertools import pairwise

import networks
import numpy as np
import torch
from backend import memory_management
from PIL import Image

from modules import paths, sd_models, shared

TAG = re.compile(r"<(lora):([^:>]+):([^>]+)>")


@dataclass
class StableDiffusionProcessingTxt2Img:
    sd_model: object = None
    prompt: str = ""
    negative_prompt: str = ""
    seed: int = -1
    sampler_name: str = None
    scheduler: str = None
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    override_settings: dict = field(default_factory=dict)
    scripts: object = field(default=None, init=False)

    cached_uc = [None, None]  # noqa: RUF012 — shared by all instances, as in the web UI
    cached_c = [None, None]  # noqa: RUF012

    def __post_init__(self):
        self.all_seeds, self.all_subseeds = [self.seed], [0]

    def close(self):
        pass


@dataclass
class Processed:
    images: list
    infotexts: list


def process_images(p):
    stored = {k: shared.opts.data[k] for k in p.override_settings if k in shared.opts.data}
    try:
        for key, value in p.override_settings.items():
            assert key != "sd_model_checkpoint", "would change what is chosen in the top bar"
            shared.opts.set(key, value, is_api=True, run_callbacks=False)
        p.sd_model, _ = sd_models.forge_model_reload()
        with torch.inference_mode():
            return process_images_inner(p)
    finally:
        for key, value in stored.items():
            setattr(shared.opts, key, value)


def process_images_inner(p):
    model = p.sd_model
    model.forge_objects = model.forge_objects_original.shallow_copy()
    found = TAG.findall(p.prompt)
    weights = [float(weight) for _, _, weight in found]
    networks.load_networks([name for _, name, _ in found], weights, weights)
    model.forge_objects = model.forge_objects_after_applying_lora.shallow_copy()
    model.set_clip_skip(int(shared.opts.CLIP_stop_at_last_layers))
    prompts = [TAG.sub("", p.prompt).strip(), p.negative_prompt]
    cond = conditioning(model, prompts[0], p.cached_c, p)
    uncond = conditioning(model, prompts[1], p.cached_uc, p)
    if not shared.cmd_opts.no_prompt_history:
        with open(os.path.join(paths.data_path, "params.txt"), "w", encoding="utf8") as file:
            file.write(prompts[0])
    latent = sample(p, cond, uncond)
    if shared.state.interrupted:
        return Processed([], [])
    pixels = (model.decode_first_stage(latent)[0].clamp(-1, 1) + 1) * 127.5
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy().astype(np.uint8))
    return Processed([image], [""])


def conditioning(model, text, cache, p):
    key = (text, shared.opts.CLIP_stop_at_last_layers, tuple(TAG.findall(p.prompt)), id(model))
    if cache[0] != key:
        cache[0], cache[1] = key, model.get_learned_conditioning([text])
    return cache[1]


def sample(p, cond, uncond):
    patcher = p.sd_model.forge_objects.unet
    memory_management.load_models_gpu([patcher])
    unet, alphas = patcher.model.diffusion_model, patcher.model.predictor.alphas_cumprod
    steps = torch.linspace(len(alphas) - 1, 0, p.steps + 1).long()
    x = torch.randn(1, 4, p.height // 8, p.width // 8, generator=torch.Generator().manual_seed(p.seed))
    for t, following in pairwise(steps):
        if shared.state.interrupted:
            break
        both = torch.cat([cond, uncond])
        out = unet(torch.cat([x, x]), t.float().expand(2), context=both, transformer_options={})
        eps_cond, eps_uncond = out.chunk(2)
        eps = eps_uncond + p.cfg_scale * (eps_cond - eps_uncond)
        x0 = (x - (1 - alphas[t]).sqrt() * eps) / alphas[t].sqrt()
        x = alphas[following].sqrt() * x0 + (1 - alphas[following]).sqrt() * eps
    return x


def create_infotext(p, all_prompts, all_seeds, all_subseeds, index=None, all_negative_prompts=None):
    settings = {"Steps": p.steps, "Sampler": p.sampler_name, "Schedule type": p.scheduler, "Seed": all_seeds[index]}
    lines = [all_prompts[index], f"Negative prompt: {all_negative_prompts[index]}"]
    return "\n".join([*lines, ", ".join(f"{k}: {v}" for k, v in settings.items())])
