"""txt2img: extra networks from the prompt, settings for one image, Euler steps with classifier-free guidance."""

import os
import re
from dataclasses import dataclass, field
from itertools import pairwise

import networks
import numpy as np
import torch
from PIL import Image

from modules import paths, sd_hijack, sd_models, sd_unet, shared

TAG = re.compile(r"<(lora|hypernet):([^:>]+):([^>]+)>")


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
    tiling: bool = None
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    override_settings: dict = None
    override_settings_restore_afterwards: bool = True
    scripts: object = field(default=None, init=False)

    cached_uc = [None, None]  # noqa: RUF012 — shared by all instances, as in the web UI
    cached_c = [None, None]  # noqa: RUF012

    def __post_init__(self):
        self.override_settings = self.override_settings or {}
        self.all_seeds, self.all_subseeds = [self.seed], [0]

    def close(self):
        self.closed = True


# whatever is passed, it is always the current one
StableDiffusionProcessingTxt2Img.sd_model = property(lambda self: shared.sd_model, lambda self, value: None)


@dataclass
class Processed:
    images: list
    infotexts: list


def process_images(p):
    stored = {k: shared.opts.data[k] for k in p.override_settings if k in shared.opts.data}
    try:
        if sd_models.checkpoint_aliases.get(p.override_settings.get("sd_model_checkpoint")) is None:
            p.override_settings.pop("sd_model_checkpoint", None)
            sd_models.reload_model_weights()
        for key, value in p.override_settings.items():
            shared.opts.set(key, value, is_api=True, run_callbacks=False)
            if key == "sd_model_checkpoint":
                sd_models.reload_model_weights()
        sd_models.apply_token_merging(p.sd_model, shared.opts.token_merging_ratio)
        return process_images_inner(p)
    finally:
        sd_models.apply_token_merging(p.sd_model, 0)
        for key, value in stored.items():
            setattr(shared.opts, key, value)


def process_images_inner(p):
    sd_hijack.model_hijack.apply_circular(shared.opts.tiling if p.tiling is None else p.tiling)
    with torch.no_grad():
        sd_unet.apply_unet()
        sd_models.reload_model_weights()
        p.prompts = [TAG.sub("", p.prompt).strip()]
        activate_extra_networks(p)
        uncond = conditioning(p.sd_model, p.negative_prompt, p.cached_uc, p)
        cond = conditioning(p.sd_model, p.prompts[0], p.cached_c, p)
        if not shared.cmd_opts.no_prompt_history:
            with open(os.path.join(paths.data_path, "params.txt"), "w", encoding="utf8") as file:
                file.write(create_infotext(p, p.prompts, p.all_seeds, p.all_subseeds, index=0))
        latent = sample(p, cond, uncond)
        if shared.state.interrupted:
            return Processed([], [])
        shared.state.nextjob()
        pixels = (p.sd_model.decode_first_stage(latent)[0].clamp(-1, 1) + 1) * 127.5
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy().astype(np.uint8))
    text = create_infotext(p, p.prompts, p.all_seeds, p.all_subseeds, index=0)
    image.info["parameters"] = text
    return Processed([image], [text])


def activate_extra_networks(p):
    found = TAG.findall(p.prompt)
    loras = [(name, float(weight)) for kind, name, weight in found if kind == "lora"]
    networks.load_networks([name for name, _ in loras], [w for _, w in loras], [w for _, w in loras])
    shared.loaded_hypernetworks.clear()
    shared.loaded_hypernetworks.extend(name for kind, name, _ in found if kind == "hypernet")


def conditioning(sd_model, text, cache, p):
    key = (text, shared.opts.CLIP_stop_at_last_layers, tuple(TAG.findall(p.prompt)), shared.opts.sd_model_checkpoint)
    if cache[0] != key:
        cache[0], cache[1] = key, sd_model.cond_stage_model([text])
    return cache[1]


def sample(p, cond, uncond):
    generator = torch.Generator().manual_seed(p.seed)
    alphas = p.sd_model.alphas_cumprod
    steps = torch.linspace(len(alphas) - 1, 0, p.steps + 1).long()
    x = torch.randn(1, 4, p.height // 8, p.width // 8, generator=generator)
    for t, following in pairwise(steps):
        if shared.state.interrupted:
            break
        both = torch.cat([cond, uncond])
        eps_cond, eps_uncond = p.sd_model.apply_model(
            torch.cat([x, x]), t.float().expand(2), {"c_crossattn": [both]}
        ).chunk(2)
        eps = eps_uncond + p.cfg_scale * (eps_cond - eps_uncond)
        x0 = (x - (1 - alphas[t]).sqrt() * eps) / alphas[t].sqrt()
        x = alphas[following].sqrt() * x0 + (1 - alphas[following]).sqrt() * eps
        shared.state.sampling_step += 1
    return x


def create_infotext(p, all_prompts, all_seeds, all_subseeds, comments=None, iteration=0, position_in_batch=0,
                    use_main_prompt=False, index=None, all_negative_prompts=None):  # fmt: skip
    negative = (all_negative_prompts or [p.negative_prompt])[index]
    skip = getattr(p, "clip_skip", shared.opts.CLIP_stop_at_last_layers)
    settings = {
        "Steps": p.steps, "Sampler": p.sampler_name, "Schedule type": p.scheduler, "CFG scale": p.cfg_scale,
        "Seed": all_seeds[index], "Size": f"{p.width}x{p.height}",
        "Model": p.sd_model.sd_checkpoint_info.name_for_extra,
        "Clip skip": None if skip <= 1 else skip,
    }  # fmt: skip
    text = ", ".join(f"{k}: {v}" for k, v in settings.items() if v is not None)
    return "\n".join([all_prompts[index], *([f"Negative prompt: {negative}"] if negative else []), text])
