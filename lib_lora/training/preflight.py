"""Say what a run will do before it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from lib_lora.adapters.loaders import kinds_of_spec, limits, limits_elsewhere
from lib_lora.dataset.advice import Advice
from lib_lora.dataset.check import CheckReport
from lib_lora.dataset.check import check as check_dataset
from lib_lora.dataset.hashes import FileHashes
from lib_lora.errors import UserError
from lib_lora.models.base import HostPaths, LoadedModel
from lib_lora.models.memory import process_memory
from lib_lora.training.applied import applied_networks
from lib_lora.training.config import TrainConfig
from lib_lora.training.data import dataset_config, usable_scan
from lib_lora.training.memory import RESERVE, capacity, estimate, fitting_change
from lib_lora.training.optimizers import recipe_of
from lib_lora.training.presets import MINIATURE, PRESETS, preset
from lib_lora.training.probe import Cost, probe
from lib_lora.training.run_metadata import network_spec
from lib_lora.training.sample_prompts import sample_prompt_notes
from lib_lora.training.validation import split
from lib_lora.training.warm_start import start_file

FEW = 100  # steps
FEW_OF_MINIATURE = 20  # at its own rates, it learns its character in 36


@dataclass(frozen=True)
class Preflight:
    """``dataset`` has counts, steps, buckets, captions and problems; ``advice`` all warnings with their remedies.

    ``seconds`` is for the whole run without samples; ``bytes`` at its peak, of which ``model_bytes`` are in use anyway;
    ``capacity`` is the memory of the graphics card, None without one; ``elsewhere`` names programs that will not apply
    such a file, though web UIs do; ``base`` says how the base model is held where that is not plain.
    ``process`` is what the whole process will hold, where that is the memory that counts and somebody tells: on a CPU.
    """

    dataset: CheckReport
    advice: tuple[Advice, ...]
    seconds: float
    bytes: int
    model_bytes: int
    capacity: int | None
    elsewhere: str = ""
    base: str = ""
    process: int | None = None


def preflight(
    config: TrainConfig, model: LoadedModel, paths: HostPaths, tell: Callable[[str], None] = lambda _: None
) -> Preflight:
    """Check everything and measure one step on the largest bucket.

    Args:
        tell: called with what is being done, at every layer too; whatever it raises ends the check.

    Raises:
        UserError: the run could not start; names the setting.
    """
    config.check()
    tell("reading the folder")
    data = dataset_config(config)
    if config.start_from:
        start_file(config.start_from, paths.lora_folders)
    applied_networks(config.apply_loras, paths.lora_folders)
    report = check_dataset(
        split(usable_scan(config), config.validation_split, config.seed)[0],
        data,
        epochs=config.epochs,
        steps=config.max_steps,
        accumulation=config.gradient_accumulation,
        seed=config.seed,
        max_tokens=config.max_tokens,
        count_tokens=model.token_count,
        hashes=FileHashes(paths.places.latents),
    )
    tell("timing a step")
    largest = max(report.buckets, key=lambda size: size[0] * size[1])
    caption = max(report.captions, key=len, default="")
    limit, before = capacity(model.device), process_memory()
    if limit is not None and (needed := estimate(model, config, largest, caption)) * RESERVE > limit:
        what = f"One step would need about {needed / 2**30:.1f} GB of {limit / 2**30:.1f} GB"
        raise UserError(what, where="memory", fix=fitting_change(model, config, largest, limit, caption))
    cost = probe(model, config, largest, caption, tell)
    advice = (*report.warnings, *_setting_advice(config, report.total_steps))
    elsewhere = limits_elsewhere(kinds_of_spec(network_spec(config)))
    seconds = cost.seconds * report.total_steps
    process = _process(cost, before) if torch.device(model.device).type == "cpu" else None
    return Preflight(report, advice, seconds, cost.bytes, cost.model_bytes, limit, elsewhere, cost.base, process)


def _process(cost: Cost, before: int | None) -> int | None:
    """What the process will hold in a run: small tensors are counted by what it kept of a step's, large ones by size.

    Args:
        before: what it held before the step.
    """
    now = process_memory()
    return None if before is None or now is None else max(now, before + cost.bytes - cost.model_bytes)


def _setting_advice(config: TrainConfig, steps: int) -> list[Advice]:
    found = []
    if steps < (FEW_OF_MINIATURE if _rates(config) == _rates(preset(MINIATURE).applied_to(TrainConfig())) else FEW):
        found.append(
            Advice(f"{steps} steps are few", "Raise the epochs, steps or repeats; characters take 400 to 2000")
        )
    if steps > 10_000:
        found.append(Advice(f"{steps} steps are very many", "Lower the epochs, steps or repeats"))
    if config.trigger and config.keep_tokens < 1 and config.shuffle:
        found.append(Advice("The trigger could be shuffled away from the front", "Set keep tokens to 1"))
    if config.color_aug and not config.trigger:
        what = "Colour variations blur a style's palette, and without a trigger this looks like a style"
        found.append(Advice(what, "Switch them off, or give a trigger"))
    if refused := limits(kinds_of_spec(network_spec(config))):
        found.append(Advice("; ".join(refused), "Where the file has to work there too, choose lora without options"))
    notes = sample_prompt_notes(config.sample_prompts)
    found += [Advice(note, "Nothing needs to be done; correct the line where it matters") for note in notes]
    found += rate_advice(config)
    return found


def rate_advice(config: TrainConfig) -> list[Advice]:
    """A learning rate that is probably not meant; those of our presets are. The miniature's is at any size up to that
    of its preset: no large model is trained at so few pixels."""
    small = preset(MINIATURE).applied_to(TrainConfig())
    if _rates(config) in [_rates(each.applied_to(TrainConfig())) for each in PRESETS]:
        return []
    if config.resolution <= small.resolution and max(config.unet_lr, config.te_lr) <= max(small.unet_lr, small.te_lr):
        return []
    recipe, highest = recipe_of(config.optimizer), max(config.unet_lr, config.te_lr)
    if recipe.finds_rate and highest <= 0.1:
        text = f"{config.optimizer} finds the rate itself; the learning rate only scales it"
        return [Advice(text, "Set both learning rates to 1")]
    if not (recipe.finds_rate or recipe.own_rate) and highest > 2e-3 and "SGD" not in config.optimizer:
        return [Advice("The learning rate is very high", "Start with 5e-4 for the U-Net")]
    return []


def _rates(config: TrainConfig) -> tuple[object, ...]:
    return config.resolution, config.optimizer, config.unet_lr, config.te_lr
