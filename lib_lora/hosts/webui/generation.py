"""Images by the web UI's own ``processing``: a sample is what the user will get.

Several that differ in prompt, seed and weights alone share a batch.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from modules import processing, scripts, sd_samplers, shared
from PIL import Image
from torch import nn

from lib_lora.adapters.network import Network
from lib_lora.errors import Cancelled, UserError
from lib_lora.hosts.batches import Apart, multipliers_kept, settings_of
from lib_lora.hosts.requests import lora_tags
from lib_lora.hosts.webui.cells import Cells
from lib_lora.models.base import GenerationRequest
from lib_lora.models.memory import is_out_of_memory

logger = logging.getLogger(__name__)
JOB = "LoRA Workbench"
TAG = re.compile(r"<\w+:[^>]+>")  # of extra networks, which act on a whole batch
COMPOSED = re.compile(r"\bAND\b")  # several conditionings for one image, so rows are counted otherwise
AUTOMATIC = "Automatic"  # the schedule of a sampler that is named without one
ADAPTIVE = "adaptive"  # these samplers choose their steps by the error of the whole batch


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
    requests: Sequence[GenerationRequest],
    sd_model: Any,
    unet: nn.Module,
    networks: Sequence[Network],
    settings: Mapping[str, Any],
    schedule: str = "",
) -> list[Image.Image]:
    """One image for each request with the attached ``networks`` at its weights; call it while holding the host's lock.

    The prompt is the web UI's: parentheses and ``<lora:…>`` mean what they always mean there. Always-on scripts of
    other extensions do not run.

    Args:
        requests: what to make, in one batch; all of one :func:`kind`.
        sd_model, unet: the web UI's model, and its U-Net.
        networks: as in :meth:`lib_lora.models.base.Host.generate`.
        settings: the web UI's settings that must have these values for these images, besides the clip skip.
        schedule: for samplers that are named without one; empty is the web UI's choice.

    Raises:
        Cancelled: the user pressed Interrupt.
        Apart: they cannot share a batch.
    """
    overrides = _overrides({**settings, "CLIP_stop_at_last_layers": requests[0].clip_skip})
    with multipliers_kept(networks), _unset_after(overrides):
        cells = Cells(unet, networks, requests)
        with closing(_processing(requests, sd_model, overrides, cells, schedule)) as p, cells.acting():
            images = _made(p, len(requests))
            for index, image in enumerate(images):
                image.info["parameters"] = _infotext(p, index, cells.requests[index], networks)
            return images


def kind(request: GenerationRequest) -> Hashable:
    """Equal for requests that may share a batch; None for one that is made alone."""
    if ADAPTIVE in request.sampler.lower() or COMPOSED.search(request.prompt):
        return None
    return *settings_of(request), tuple(TAG.findall(request.prompt))


def _made(p: Any, count: int) -> list[Image.Image]:
    try:
        images: list[Image.Image] = processing.process_images(p).images
    except (Apart, Cancelled, UserError):
        raise
    except Exception as error:
        if count == 1 or is_out_of_memory(error):
            raise
        logger.warning("This web UI could not make %d images at once, so each is made alone", count, exc_info=True)
        raise Apart from error
    if shared.state.interrupted or shared.state.stopping_generation or not images:
        raise Cancelled
    if len(images) != count:
        raise Apart
    return images


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


def _processing(
    requests: Sequence[GenerationRequest], sd_model: Any, overrides: dict[str, Any], cells: Cells, schedule: str
) -> Any:
    r = requests[0]
    several = {
        "prompt": [r.prompt for r in requests], "negative_prompt": [r.negative for r in requests],
        "seed": [r.seed for r in requests],
    }  # fmt: skip
    what = {"prompt": r.prompt, "negative_prompt": r.negative, "seed": r.seed} if len(requests) == 1 else several
    p = processing.StableDiffusionProcessingTxt2Img(
        sd_model=sd_model, **what, steps=r.steps, cfg_scale=r.cfg, width=r.width, height=r.height,
        batch_size=len(requests), n_iter=1, do_not_save_samples=True, do_not_save_grid=True,
        override_settings=dict(overrides), **_sampler(r.sampler, schedule),
    )  # fmt: skip
    if len(requests) > 1:
        cells.encode_apart(p)
    p.scripts = scripts.ScriptRunner()  # nobody's; reForge looks into it without asking whether there is one
    p.clip_skip = r.clip_skip  # for the infotext, which is made when the settings are the user's again
    # the shared cache of prompts does not know our networks
    p.cached_c, p.cached_uc = [None, None], [None, None]
    return p


def _sampler(name: str, schedule: str) -> dict[str, str]:
    """Sampler and, where the web UI knows them apart, its schedule.

    Raises:
        UserError: there is no such sampler; web UIs that know schedules take another one then.
    """
    if hasattr(sd_samplers, "get_sampler_and_scheduler"):
        sampler, scheduler = sd_samplers.get_sampler_and_scheduler(name, None)
        return {"sampler_name": sampler, "scheduler": schedule if schedule and scheduler == AUTOMATIC else scheduler}
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


def _infotext(p: Any, index: int, request: GenerationRequest, networks: Sequence[Network]) -> str:
    """The web UI's text, with tags for our networks; without its scripts it would leave all tags out."""
    prompts = [""] * index + [" ".join([request.prompt, *lora_tags(request, networks)])]
    negatives = [""] * index + [request.negative]
    return processing.create_infotext(
        p, prompts, p.all_seeds, p.all_subseeds, index=index, all_negative_prompts=negatives
    )
