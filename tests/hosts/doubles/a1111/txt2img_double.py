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
        several = isinstance(self.seed, list)
        self.all_seeds = self.seed if several else [self.seed + i for i in range(self.batch_size)]
        self.all_subseeds = [0] * len(self.all_seeds)

    def setup_conds(self):
        self.uc = self.with_caching(learned, self.negative_prompts, self.cached_uc)
        self.c = self.with_caching(multicond, self.prompts, self.cached_c)

    def with_caching(self, function, texts, cache):
        """From the cache where texts, tags and settings are those of before."""
        key = (tuple(texts), tuple(self.tags), self.steps, *self.conds_depend_on())
        if cache[0] != key:
            cache[0], cache[1] = key, function(self.encode, texts, self.steps)
        return cache[1]

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
    several = isinstance(p.prompt, list)
    p.prompts = list(p.prompt) if several else [p.prompt] * p.batch_size
    p.negative_prompts = p.negative_prompt if several else [p.negative_prompt] * p.batch_size
    p.seeds = p.all_seeds
    if p.scripts is not None:
        p.scripts.before_process_batch(p, batch_number=0, prompts=p.prompts, seeds=p.all_seeds, subseeds=p.all_subseeds)
    p.tags = TAG.findall(p.prompts[0])  # the first prompt's act on the batch
    p.prompts = [TAG.sub("", prompt).strip() for prompt in p.prompts]


def loras_of(p):
    """Names and weights of the prompt's LoRA tags."""
    found = [(name, float(weight)) for kind, name, weight in p.tags if kind == "lora"]
    return [name for name, _ in found], [weight for _, weight in found]


@dataclass
class Scheduled:
    end_at_step: int
    cond: torch.Tensor


@dataclass
class Composable:
    schedules: list
    weight: float = 1.0


class MulticondLearnedConditioning:
    def __init__(self, shape, batch):
        self.shape, self.batch = shape, batch


CHANGE = re.compile(r"\[([^\[\]:]*):([^\[\]:]*):([\d.]+)\]")


def learned(encode, texts, steps):
    """The schedule of each text; one that is there twice is encoded once."""
    found = {}
    for text in texts:
        if text not in found:
            change = CHANGE.search(text)
            ends = [steps] if change is None else [int(float(change[3]) * steps), steps]
            versions = [CHANGE.sub(rf"\{n + 1}", text) for n in range(len(ends))]
            found[text] = [Scheduled(end, encode([v])[0]) for end, v in zip(ends, versions, strict=True)]
    return [found[text] for text in texts]


def multicond(encode, texts, steps):
    parts = [re.split(r"\bAND\b", text) for text in texts]
    flat = iter(learned(encode, [part for row in parts for part in row], steps))
    return MulticondLearnedConditioning((len(texts),), [[Composable(next(flat)) for _ in row] for row in parts])


def at(schedule, step):
    return next((entry.cond for entry in schedule if step <= entry.end_at_step), schedule[0].cond)


def in_one(conds):
    """Where lengths differ, the last vector of the shorter ones is repeated."""
    longest = max(len(cond) for cond in conds)
    return torch.stack([torch.cat([cond, cond[-1:].repeat(longest - len(cond), 1)]) for cond in conds])


def euler(p, alphas, denoise, state):
    """Latents; ``denoise(x, t, conds, uncond)`` gives the noise with the prompt and without."""
    steps = torch.linspace(len(alphas) - 1, 0, p.steps + 1).long()
    shape = (4, p.height // 8, p.width // 8)
    x = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in p.seeds])
    for number, (t, following) in enumerate(pairwise(steps)):
        if state.interrupted:
            break
        p.step = number
        composed = [[at(part.schedules, number) for part in parts] for parts in p.c.batch]
        uncond = in_one([at(schedule, number) for schedule in p.uc])
        eps_cond, eps_uncond = denoise(x, t.float(), composed, uncond)
        eps = eps_uncond + p.cfg_scale * (eps_cond - eps_uncond)
        x0 = (x - (1 - alphas[t]).sqrt() * eps) / alphas[t].sqrt()
        x = alphas[following].sqrt() * x0 + (1 - alphas[following]).sqrt() * eps
        state.sampling_step += 1
    return x


def denoiser_of_a1111(p, predict, opts):
    """The order of A1111's ``CFGDenoiser``: all conditionings image by image, behind them the images without."""

    def denoise(x, t, composed, uncond):
        cond = in_one([part for parts in composed for part in parts])
        x_in = torch.cat([x[i : i + 1].repeat(len(parts), 1, 1, 1) for i, parts in enumerate(composed)])
        size, together = len(x), opts.batch_cond_uncond and cond.shape[1] == uncond.shape[1]
        if p.step / p.steps < opts.skip_early_cond:
            out, without = predict(x_in, t.expand(len(x_in)), cond), None
        elif together:
            both = torch.cat([x_in, x]), t.expand(len(x_in) + size), torch.cat([cond, uncond])
            out, without = predict(*both).split([len(x_in), size])
        else:
            size *= 2 if opts.batch_cond_uncond else 1
            parts = zip(x_in.split(size), cond.split(size), strict=True)
            out = torch.cat([predict(rows, t.expand(len(rows)), conds) for rows, conds in parts])
            without = predict(x, t.expand(len(x)), uncond)
        found, first = [], 0
        for parts in composed:
            found.append(out[first : first + len(parts)].mean(0))
            first += len(parts)
        found = torch.stack(found)
        return found, found if without is None else without

    return denoise


def denoiser_of_forge(p, predict, at_once):
    """Forge's order: a chunk for each conditioning, the last one first, ``at_once`` of them in a call."""

    def denoise(x, t, composed, uncond):
        conds = [in_one(row) for row in zip(*composed, strict=True)]
        waiting = [(cond, 0) for cond in conds] + [(uncond, 1)]
        found = [[], []]
        while waiting:
            now = [i for i, (cond, _) in enumerate(waiting) if cond.shape == waiting[0][0].shape][::-1][: at_once()]
            chunks = [waiting.pop(i) for i in now]
            rows = x.repeat(len(chunks), 1, 1, 1)
            out = predict(rows, t.expand(len(rows)), torch.cat([cond for cond, _ in chunks]))
            for (_, which), noise in zip(chunks, out.chunk(len(chunks)), strict=True):
                found[which].append(noise)
        return torch.stack(found[0]).mean(0), found[1][0]

    return denoise


def pictures(decode, latents):
    """One after the other through the VAE, which gives [-1, 1]."""
    return [picture(decode(latent[None])) for latent in latents]


def picture(decoded):
    """Of what the VAE gives, in [-1, 1]."""
    pixels = (decoded[0].clamp(-1, 1) + 1) * 127.5
    return Image.fromarray(pixels.permute(1, 2, 0).numpy().astype(np.uint8))
