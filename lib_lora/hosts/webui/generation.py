"""Images by the web UI's own ``processing``: a sample is what the user will get."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from modules import processing, scripts, sd_samplers, shared
from PIL import Image
from torch import nn

from lib_lora.adapters.network import Network
from lib_lora.errors import Cancelled, UserError
from lib_lora.hosts.requests import lora_tags
from lib_lora.models.base import GenerationRequest

JOB = "LoRA Workbench"


@contextmanager
def progress(count: int) -> Iterator[None]:
    """Report to the web UI's progress bar, and keep our prompts out of its history of the last generation."""
    options = shared.cmd_opts
    before = getattr(options, "no_prompt_history", False)
    shared.state.begin(job=JOB)
    try:
        shared.state.job_count = count
        options.no_prompt_history = True
        yield
    finally:
        options.no_prompt_history = before
        shared.state.end()


def draw(
    request: GenerationRequest, sd_model: Any, networks: Sequence[Network], settings: Mapping[str, Any]
) -> Image.Image:
    """One image with the attached ``networks`` at the request's weights; call it while holding the host's lock.

    The prompt is the web UI's: parentheses and ``<lora:…>`` mean what they always mean there. Always-on scripts of
    other extensions do not run.

    Args:
        request: what to make.
        sd_model: the web UI's model.
        networks: as in :meth:`lib_lora.models.base.Host.generate`.
        settings: the web UI's settings that must have these values for this image, besides the clip skip.

    Raises:
        Cancelled: the user pressed Interrupt.
    """
    overrides = _overrides({**settings, "CLIP_stop_at_last_layers": request.clip_skip})
    with _weights(networks, request), _unset_after(overrides), closing(_processing(request, sd_model, overrides)) as p:
        images = processing.process_images(p).images
        if shared.state.interrupted or shared.state.stopping_generation or not images:
            raise Cancelled
        image = images[0]
        image.info["parameters"] = _infotext(p, request, networks)
        return image


@contextmanager
def stopping(unet: nn.Module, cancelled: Callable[[], bool] | None) -> Iterator[None]:
    """Raise ``Cancelled`` at the next sampling step when ``cancelled`` says so."""

    def ask(*_: Any) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled

    handle = unet.register_forward_pre_hook(ask)
    try:
        yield
    finally:
        handle.remove()


def _processing(request: GenerationRequest, sd_model: Any, overrides: dict[str, Any]) -> Any:
    r = request
    p = processing.StableDiffusionProcessingTxt2Img(
        sd_model=sd_model, prompt=r.prompt, negative_prompt=r.negative, seed=r.seed, steps=r.steps, cfg_scale=r.cfg,
        width=r.width, height=r.height, batch_size=1, n_iter=1, do_not_save_samples=True, do_not_save_grid=True,
        override_settings=dict(overrides), **_sampler(r.sampler),
    )  # fmt: skip
    p.scripts = scripts.ScriptRunner()  # nobody's; reForge looks into it without asking whether there is one
    p.clip_skip = r.clip_skip  # for the infotext, which is made when the settings are the user's again
    # the shared cache of prompts does not know our networks
    p.cached_c, p.cached_uc = [None, None], [None, None]
    return p


def _sampler(name: str) -> dict[str, str]:
    """Sampler and, where the web UI knows them apart, its schedule.

    Raises:
        UserError: there is no such sampler; web UIs that know schedules take another one then.
    """
    if hasattr(sd_samplers, "get_sampler_and_scheduler"):
        sampler, scheduler = sd_samplers.get_sampler_and_scheduler(name, None)
        return {"sampler_name": sampler, "scheduler": scheduler}
    known = sd_samplers.samplers_map.get(name.lower())
    if known is None:
        raise UserError("This web UI has no such sampler", where=name, fix="Choose one of its own, such as Euler a")
    return {"sampler_name": known}


def _overrides(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Settings for this image only; those that are as wanted are left alone, for some may be locked."""
    return {name: value for name, value in wanted.items() if getattr(shared.opts, name, None) != value}


@contextmanager
def _unset_after(overrides: Iterable[str]) -> Iterator[None]:
    """Take back the settings that the user never set; the web UI itself puts back only those that were."""
    unset = [name for name in overrides if name not in shared.opts.data]
    try:
        yield
    finally:
        for name in unset:
            shared.opts.data.pop(name, None)


def _infotext(p: Any, request: GenerationRequest, networks: Sequence[Network]) -> str:
    """The web UI's text, with tags for our networks; without its scripts it would leave all tags out."""
    prompt = " ".join([request.prompt, *lora_tags(request, networks)])
    return processing.create_infotext(
        p, [prompt], p.all_seeds, p.all_subseeds, index=0, all_negative_prompts=[request.negative]
    )


@contextmanager
def _weights(networks: Sequence[Network], request: GenerationRequest) -> Iterator[None]:
    before = [network.multiplier for network in networks]
    try:
        for network, weight in zip(networks, request.weights, strict=False):  # no weights: the networks' own
            network.multiplier = weight
        yield
    finally:
        for network, multiplier in zip(networks, before, strict=True):
            network.multiplier = multiplier
