"""Slider LoRAs: settings that suit one, and its pictures, which the model draws before it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from lib_lora.bounds import check_number
from lib_lora.errors import UserError
from lib_lora.models.base import GenerationRequest, ModelInfo
from lib_lora.names import check_name
from lib_lora.tools.made.pairs import GridColumns
from lib_lora.tools.made.prompts import as_caption
from lib_lora.tools.made.spec import PictureSpec, claim
from lib_lora.training.config import TrainConfig
from lib_lora.training.presets import MINIATURE, usual_preset
from lib_lora.workbench.workbench import Workbench

STEPS, PICTURES = 200, 24
RATE = 2e-4  # at alpha = rank; the miniature takes ten times that, as it does for everything


@dataclass(frozen=True)
class SliderSpec:
    """A slider between two ends.

    Args:
        name: of its LoRA.
        more, less: tags of both ends; empty where it is learned from pairs.
        prompts: what it is learned on, used in turn; all that they name is held. Drawn by the model beforehand.
        count: pictures that are drawn.
        before, after: folders of pairs of pictures, by their names; instead of ``more`` and ``prompts``.
        steps, strength, rank: of the training.
        settings: how pictures are drawn; its prompt and seed do not count.
        grid: columns of a grid that are the pairs; instead of folders.
    """

    name: str
    more: str = ""
    less: str = ""
    prompts: Sequence[str] = ()
    count: int = PICTURES
    before: str = ""
    after: str = ""
    steps: int = STEPS
    strength: float = 1.0
    rank: int = 4
    settings: GenerationRequest = field(default_factory=lambda: GenerationRequest(""))
    grid: GridColumns | None = None


def slider_config(spec: SliderSpec, data_dir: str, model: ModelInfo) -> TrainConfig:
    """Settings of the run: those that are usual for the model, with what a slider needs.

    A small network on the U-Net alone, no trigger, and captions as they are, since both ends have to differ by their
    tags alone.
    """
    usual = usual_preset(model)
    small = usual.name == MINIATURE
    config = TrainConfig(
        name=spec.name, data_dir=data_dir, model=model.name, slider_more=spec.more.strip(),
        slider_less=spec.less.strip(), slider_after=spec.after.strip(), slider_strength=spec.strength,
    )  # fmt: skip
    return replace(
        usual.applied_to(config), rank=spec.rank, alpha=float(spec.rank), unet_lr=10 * RATE if small else RATE,
        te_lr=0.0, optimizer="AdamW", optimizer_args="", schedule="cosine", warmup=0.05, min_snr_gamma=0.0,
        ip_noise_gamma=0.0, noise_offset=0.0, batch_size=2, max_steps=spec.steps, keep_tokens=0, shuffle=False,
        color_aug=False, caption_dropout=0.0, sample_every_n_epochs=0, save_every_n_epochs=0, fixed_loss_images=4,
    )  # fmt: skip


def as_drawn(config: TrainConfig, settings: GenerationRequest) -> TrainConfig:
    """The settings with the size of the pictures as drawn, so that none is resized."""
    side = round((settings.width * settings.height) ** 0.5)
    step = next(step for step in (64, 32, 16, 8) if settings.width % step == settings.height % step == 0 or step == 8)
    longest = max(settings.width, settings.height)
    return replace(config, resolution=max(64, -(-side // 8) * 8), bucket_step=step, bucket_min=0, bucket_max=longest)


def start_slider(workbench: Workbench, spec: SliderSpec) -> int:
    """Queue the slider: the pictures that it is learned on, and its training, are one job; returns its id.

    Raises:
        UserError: an end or the prompts are missing, pairs that are none, or whatever a training cannot begin with.
    """
    host = workbench.host
    check_name(spec.name, "Name of the slider")
    check_number(spec.steps, "Slider steps", 1, 1_000_000)
    info = host.info() or host.ensure_loaded()
    if (paired := _paired(workbench, spec)) is not None:
        return workbench.start_training(slider_config(paired, paired.before, info))
    if not spec.more.strip():
        fix = "Type its tags, such as smile; or give pictures before and after"
        raise UserError("A slider needs its positive end", where="More of", fix=fix)
    pictures = PictureSpec(tuple(map(as_caption, spec.prompts)), spec.count, spec.settings).check()
    # of the same pictures another strength or other ends can be learned, of other prompts it needs others
    folder = host.paths.places.sliders / f"{spec.name}-{_digest((info.name, pictures))}"
    config = as_drawn(slider_config(spec, str(folder), info), spec.settings).check()
    workbench.starting.refuse_existing(config)
    claim(folder, info.name, pictures, host.paths.lora_folders)
    return workbench.start_training(config)


def _paired(workbench: Workbench, spec: SliderSpec) -> SliderSpec | None:
    """The slider with the folders of its pairs, without tags; None where it is learned from tags."""
    if spec.grid is not None:
        folder = workbench.host.paths.places.sliders / f"{spec.name}-{_digest(spec.grid.pairs())}"
        before, after = map(str, spec.grid.write(folder))
        return replace(spec, more="", less="", before=before, after=after)
    before, after = spec.before.strip(), spec.after.strip()
    if not before and not after:
        return None
    if not (before and after):
        where = "Pictures after" if before else "Pictures before"
        raise UserError("Pairs lie in two folders", where=where, fix="Give both; a pair has the same name in each")
    return replace(spec, before=before, after=after)


def _digest(value: object) -> str:
    return sha256(repr(value).encode()).hexdigest()[:8]
