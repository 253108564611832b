"""What the doubles' txt2img share: the order for an image, the scripts' turn, and Euler steps with guidance."""

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from PIL import Image

TAG = re.compile(r"<(lora|hypernet):([^:>]+):([^>]+)>")


@dataclass
class Processing:
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


@dataclass
class Processed:
    images: list
    infotexts: list


@contextmanager
def settings_of(p, opts):
    """The settings that an image brings its own of come back, but for those that had never been set."""
    stored = {key: opts.data[key] for key in p.override_settings if key in opts.data}
    try:
        yield p.override_settings
    finally:
        for key, value in stored.items():
            setattr(opts, key, value)


def run_scripts(p):
    """Scripts may change the prompts of a batch before anybody reads them."""
    p.prompts = [p.prompt]
    if p.scripts is not None:
        p.scripts.before_process_batch(p, batch_number=0, prompts=p.prompts, seeds=p.all_seeds, subseeds=p.all_subseeds)
        p.prompt = p.prompts[0]


def loras_of(p):
    """Names and weights of the prompt's LoRA tags."""
    found = [(name, float(weight)) for kind, name, weight in TAG.findall(p.prompt) if kind == "lora"]
    return [name for name, _ in found], [weight for _, weight in found]


def encoded(encode, text, cache, p, *also):
    """The conditioning of a text, from the cache where text, tags and settings are those of before."""
    key = (text, tuple(TAG.findall(p.prompt)), *also)
    if cache[0] != key:
        cache[0], cache[1] = key, encode([text])
    return cache[1]


def euler(p, alphas, predict, state):
    """Latents; ``predict(x, t)`` gives the noise of conditioned and unconditioned samples, one behind the other."""
    steps = torch.linspace(len(alphas) - 1, 0, p.steps + 1).long()
    x = torch.randn(1, 4, p.height // 8, p.width // 8, generator=torch.Generator().manual_seed(p.seed))
    for t, following in pairwise(steps):
        if state.interrupted:
            break
        eps_cond, eps_uncond = predict(torch.cat([x, x]), t.float().expand(2)).chunk(2)
        eps = eps_uncond + p.cfg_scale * (eps_cond - eps_uncond)
        x0 = (x - (1 - alphas[t]).sqrt() * eps) / alphas[t].sqrt()
        x = alphas[following].sqrt() * x0 + (1 - alphas[following]).sqrt() * eps
        state.sampling_step += 1
    return x


def picture(decoded):
    """Of what the VAE gives, in [-1, 1]."""
    pixels = (decoded[0].clamp(-1, 1) + 1) * 127.5
    return Image.fromarray(pixels.permute(1, 2, 0).numpy().astype(np.uint8))
