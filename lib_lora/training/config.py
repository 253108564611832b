"""Every setting of a training run, declared once: default, help, range, unit and kohya's name.

The UI builds its fields from :func:`settings`, the TOML file has one key per field, and the metadata of the LoRA file
is derived from the same object. The declarations are in ``config_groups/``, one file per group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lib_lora.adapters.algorithms import wrappable
from lib_lora.adapters.blocks import named_blocks
from lib_lora.adapters.selection import check_layers
from lib_lora.bounds import check_path
from lib_lora.dataset.caption import split_tags
from lib_lora.errors import UserError
from lib_lora.names import check_name
from lib_lora.training.applied import check_applied
from lib_lora.training.block_ranks import parse_block_ranks
from lib_lora.training.config_groups.data import CaptionSettings, ImageSettings
from lib_lora.training.config_groups.loss import LossSettings, NoiseSettings
from lib_lora.training.config_groups.optimizer import OptimizerSettings, ScheduleSettings
from lib_lora.training.config_groups.output import MemorySettings, SavingSettings
from lib_lora.training.config_groups.run import NetworkSettings, RunSettings
from lib_lora.training.config_groups.setting import GROUPS, check_value, default_of
from lib_lora.training.config_groups.slider import SliderSettings, is_slider
from lib_lora.training.optimizers import RECIPES, check_optimizer

__all__ = ["GROUPS", "PATH_SETTINGS", "TrainConfig", "default_of", "named_paths", "settings"]
PATH_SETTINGS = ("data_dir", "reg_dir", "mask_dir", "slider_after", "start_from")


@dataclass
class TrainConfig(  # a dataclass takes the fields of its last base first
    MemorySettings,
    SavingSettings,
    SliderSettings,
    LossSettings,
    NoiseSettings,
    ImageSettings,
    CaptionSettings,
    ScheduleSettings,
    OptimizerSettings,
    NetworkSettings,
    RunSettings,
):
    """The settings of one run; ``check()`` raises a UserError that names the setting.

    Counting: one *step* is one optimizer update; an epoch sees every image ``repeats`` times.
    """

    def check(self) -> TrainConfig:
        """Return self if every setting is usable, else raise :class:`UserError` naming the first that is not."""
        for f in fields(self):
            check_value(f, getattr(self, f.name))
        for name, path in named_paths(self).items():
            check_path(path, name)
        _check_run(self)
        _check_network(self)
        _check_optimizer(self)
        _check_noise(self)
        _check_slider(self)
        _check_memory(self)
        return self

    @property
    def is_slider(self) -> bool:
        """Whether the run learns a difference instead of pictures."""
        return is_slider(self)

    @property
    def packing(self) -> str:
        """How the base is packed: ``"fp8"``, ``"nf4"`` or ``""``."""
        return "fp8" if self.fp8_base else "nf4" if self.nf4_base else ""


@cache
def settings() -> Mapping[str, Field[Any]]:
    """Field by name, in the order of the form; ``field.metadata`` has group, label, help, low, high, unit, …"""
    return MappingProxyType({f.name: f for f in fields(TrainConfig)})


def named_paths(config: TrainConfig) -> dict[str, str]:
    """Setting -> path, of those that name one; a LoRA that is given by its name alone is none."""
    named = {name: getattr(config, name) for name in PATH_SETTINGS if getattr(config, name)}
    return {name: path for name, path in named.items() if name != "start_from" or Path(path).parent != Path()}


def _check_run(c: TrainConfig) -> None:
    check_name(c.name, "name")
    if not c.data_dir.strip():
        raise UserError("No image folder chosen", where="data_dir", fix="Choose the folder that holds the images")
    if c.repeats != "auto" and not (c.repeats.isdigit() and 1 <= int(c.repeats) <= 10000):
        raise UserError(f"Repeats cannot be {c.repeats!r}", where="repeats", fix='Use "auto" or a number from 1')
    if c.max_tokens % 75:
        raise UserError("Longest caption counts in chunks of 75 tokens", where="max_tokens", fix="Use 75, 150 or 225")
    if c.resolution % 8 or c.bucket_step % 8:
        name = "resolution" if c.resolution % 8 else "bucket_step"
        raise UserError("Image sides must be multiples of 8 pixels", where=name, fix="Use 512 or 768, and a step of 64")


def _check_network(c: TrainConfig) -> None:
    check_applied(c.apply_loras)
    parse_block_ranks(c.block_ranks, "block_ranks")
    if parse_block_ranks(c.conv_block_ranks, "conv_block_ranks").ranks and not c.conv_rank:
        what = "Convolution ranks per block need a convolution rank for the other blocks"
        raise UserError(what, where="conv_rank", fix="Set it to 4, or empty the other setting")
    if c.dora and c.algorithm not in wrappable():
        fix = f"Use {', '.join(wrappable())}"
        raise UserError(f"DoRA cannot be combined with {c.algorithm}", where="dora", fix=fix)
    for name in ("nested_ranks", "tlora_rank"):
        if getattr(c, name) and (c.algorithm != "lora" or c.dora):
            what = f"{settings()[name].metadata['label']} is for LoRA alone"
            raise UserError(what, where=name, fix="Use the algorithm lora without DoRA, or switch it off")
    if c.tlora_rank and c.nested_ranks:
        what = "Nested ranks and T-LoRA both say which ranks are trained"
        raise UserError(what, where="tlora_rank", fix="Switch one of them off")
    if c.tlora_rank > c.rank:
        what = f"T-LoRA cannot leave {c.tlora_rank} of {c.rank} ranks"
        raise UserError(what, where="tlora_rank", fix="Give a smaller number, about a quarter of the rank")
    check_layers(c.layers)


def _check_optimizer(c: TrainConfig) -> None:
    if c.optimizer_args.strip() or c.optimizer not in RECIPES:
        check_optimizer(c.optimizer, (c.beta1, c.beta2), c.weight_decay, c.optimizer_args)
    if c.unet_lr == 0 and c.te_lr == 0:
        raise UserError("Both learning rates are 0, so nothing would be learned", where="unet_lr", fix="Try 5e-4")
    if c.warmup and c.schedule == "constant":
        raise UserError("The constant schedule has no warm-up", where="schedule", fix="Use constant_with_warmup")
    if c.schedule == "step" and c.cycle_decay == 1:
        what = "The step schedule would never fall"
        raise UserError(what, where="cycle_decay", fix="Use 0.5, and cycles for how often")
    if c.max_steps:
        return  # how many epochs that is, the images say
    unet_ends = c.unet_lr == 0 or 0 < c.stop_unet_after < c.epochs
    te_ends = c.te_lr == 0 or 0 < c.stop_te_after < c.epochs
    if unet_ends and te_ends:
        where = "stop_te_after" if c.unet_lr == 0 else "stop_unet_after"
        raise UserError("All training would stop before the last epoch", where=where, fix="Set it to 0")


def _check_noise(c: TrainConfig) -> None:
    if c.min_timestep >= c.max_timestep:
        what = f"No timestep lies between {c.min_timestep} and {c.max_timestep}"
        raise UserError(what, where="min_timestep", fix="Lower it, or raise the last timestep")
    if c.adaptive_noise_scale and not c.noise_offset:
        what = "The adaptive noise scale changes the noise offset, which is off"
        raise UserError(what, where="adaptive_noise_scale", fix="Give a noise offset too, or set this to 0")
    if c.timestep_distribution == "beta" and c.timestep_a <= 0:
        raise UserError("α of the beta distribution must be above 0", where="timestep_a", fix="1 and 1 are uniform")
    if c.timestep_distribution in ("beta", "logit-normal") and c.timestep_b <= 0:
        raise UserError("b of this distribution must be above 0", where="timestep_b", fix="Use 1")


def _check_slider(c: TrainConfig) -> None:
    if not c.is_slider:
        return
    if c.slider_after.strip() and (c.slider_more.strip() or c.slider_less.strip()):
        what = "A slider learns from tags or from pairs of pictures, not from both"
        raise UserError(what, where="slider_after", fix="Empty the tags, or the folder of the pictures after")
    more, less = (set(map(str.casefold, split_tags(tags))) for tags in (c.slider_more, c.slider_less))
    if not c.slider_after.strip() and not more:
        fix = "Type its tags, such as smile; if they stand under Less of, move them: the weight may be negative"
        raise UserError("A slider needs its positive end", where="slider_more", fix=fix)
    if more and more == less:
        what = "Both ends are the same, so there is nothing to learn"
        raise UserError(what, where="slider_less", fix="Change one of them")
    if c.te_lr:
        what = "A slider leaves the text encoder alone, else its ends would shift while it learns"
        raise UserError(what, where="te_lr", fix="Set it to 0")
    if c.slider_after.strip() and c.color_aug:
        what = "Colour variations would part the two pictures of a pair"
        raise UserError(what, where="color_aug", fix="Switch them off")
    for name, label in (("preserve_weight", "Preserve the base"), ("reg_dir", "Regularisation")):
        if getattr(c, name):
            what = f"{label} means nothing for a slider, which is held to the base anyway"
            raise UserError(what, where=name, fix="Switch it off")


def _check_memory(c: TrainConfig) -> None:
    if c.fp8_base and c.nf4_base:
        raise UserError("The base cannot be both fp8 and NF4", where="nf4_base", fix="Switch one of them off")
    if not c.checkpoint_blocks.strip():
        return
    try:
        named_blocks(c.checkpoint_blocks)
    except UserError as error:
        raise UserError(error.what, where="checkpoint_blocks", fix=error.fix) from error
