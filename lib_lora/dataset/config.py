"""What the user says about the training images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lib_lora.dataset.caption import CaptionPipeline
from lib_lora.errors import UserError


@dataclass(frozen=True)
class Concept:
    """A folder of images that belong together; in a `DatasetConfig` also a parent of such folders.

    Args:
        path: the folder.
        repeats: how often each image is seen per epoch, where no folder name (``10_name``) says so; 0 means once.
        class_tokens: caption of images without a caption file, where no folder name gives one.
        regularisation: pictures of the class, not of the subject (prior preservation); they get no trigger.
    """

    path: Path
    repeats: int = 0
    class_tokens: str = ""
    regularisation: bool = False


@dataclass(frozen=True)
class DatasetConfig:
    """Where the images are and how they become batches.

    Args:
        folders: folders of images, or folders that hold folders named like ``10_name``.
        resolution: no bucket has a larger area than the square of this side, in pixels.
        batch_size: images per batch.
        trigger: activation tag, put first in every caption.
        shuffle: draw a new order of the tags each time, behind the kept ones.
        keep_tokens: so many tags at the front (the trigger counts) are never shuffled.
        flip: mirror half of the images at random, and swap left and right in their captions.
        colour: show each image in slightly other colours at times.
        crop: cut what is too long for the bucket elsewhere than at both ends alike at times.
        caption_extension: ``".txt"`` reads only those; empty reads .txt, else .caption.
        bucket_step: bucket sides are multiples of it, in pixels.
        bucket_min: shortest side of a bucket in pixels; 0 is half of the resolution.
        bucket_max: longest side of a bucket in pixels; 0 is twice the resolution.
        captions: what else happens to captions; its trigger, shuffle and keep_tokens are those above.
        token_warmup: epochs (also parts of one) in which captions grow from their first tags to all; 0 is off.
        no_upscale: never enlarge an image; a small one gets a bucket of its own size.
        random_line: draw one of the lines of a caption file each time; else its first line counts.
        masks: ``"files"`` or ``"alpha"``: what is black or transparent there does not count; "" is off.
        mask_folder: where mask files of the pictures' names lie; None looks for NAME-masklabel and NAME_mask beside.
        prior_weight: of the loss of regularisation pictures.
        after_folder: where each picture's partner lies, under its name; pictures without one are left out.
        left_out: pictures whose loss does not count: the order, noise and weight of all others stay as they are.
    """

    folders: tuple[Concept, ...]
    resolution: int = 512
    batch_size: int = 1
    trigger: str = ""
    shuffle: bool = False
    keep_tokens: int = 0
    flip: bool = False
    colour: bool = False
    crop: bool = False
    caption_extension: str = ""
    bucket_step: int = 64
    bucket_min: int = 0
    bucket_max: int = 0
    no_upscale: bool = False
    captions: CaptionPipeline = CaptionPipeline()  # noqa: RUF009 — frozen
    token_warmup: float = 0.0
    random_line: bool = False
    masks: str = ""
    mask_folder: Path | None = None
    prior_weight: float = 1.0
    after_folder: Path | None = None
    left_out: frozenset[Path] = frozenset()

    def pipeline(self) -> CaptionPipeline:
        """What turns a written caption into the one that the model sees."""
        return replace(self.captions, trigger=self.trigger, keep_tokens=self.keep_tokens, shuffle=self.shuffle)

    def validate(self) -> None:
        """Raise `UserError` naming the first setting that cannot work."""
        for name, least in (("batch_size", 1), ("keep_tokens", 0), ("bucket_min", 0), ("bucket_max", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{getattr(self, name)} is too small", where=name, fix=f"Use {least} or more")
        step, shortest = self.bucket_step, max(self.bucket_min, self.bucket_step)
        if step < 8 or step % 8:
            raise UserError(f"{step} is not a multiple of 8", where="bucket_step", fix="Use 64, or 32, 16 or 8")
        if self.resolution < step:
            what = f"The resolution {self.resolution} is smaller than one bucket step of {step}"
            raise UserError(what, where="resolution", fix="Raise the resolution or lower bucket_step")
        if 0 < self.bucket_max < shortest:
            what = f"The longest bucket side {self.bucket_max} is below the shortest, {shortest}"
            raise UserError(what, where="bucket_max", fix="Set it to 0 (twice the resolution) or raise it")
