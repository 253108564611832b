"""From the settings of a run to its dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lib_lora.dataset.caption import CaptionPipeline
from lib_lora.dataset.config import Concept, DatasetConfig
from lib_lora.dataset.hashes import FileHashes
from lib_lora.dataset.scan import Scan, scan
from lib_lora.errors import UserError
from lib_lora.training.config import TrainConfig

BETWEEN = "|"  # names of pictures that are left out; no file can have it in its name on Windows


def dataset_config(config: TrainConfig) -> DatasetConfig:
    """The part of the settings that concerns images and captions."""
    repeats = 0 if config.repeats == "auto" else int(config.repeats)
    regularisation = [Concept(Path(config.reg_dir), regularisation=True)] if config.reg_dir.strip() else []
    return DatasetConfig(
        folders=(Concept(Path(config.data_dir), repeats), *regularisation),
        resolution=config.resolution,
        batch_size=config.batch_size,
        trigger=config.trigger,
        shuffle=config.shuffle,
        keep_tokens=config.keep_tokens,
        flip=config.flip,
        colour=config.color_aug,
        crop=config.random_crop,
        bucket_step=config.bucket_step,
        bucket_min=config.bucket_min,
        bucket_max=config.bucket_max,
        no_upscale=config.no_upscale,
        caption_extension=config.caption_extension,
        captions=CaptionPipeline(
            prefix=config.caption_prefix,
            suffix=config.caption_suffix,
            keep_separator=config.keep_separator,
            secondary_separator=config.secondary_separator,
            wildcards=config.wildcards,
            dropout=config.caption_dropout,
            dropout_every_n_epochs=config.caption_dropout_every_n_epochs,
            tag_dropout=config.tag_dropout,
            split_sentences=config.split_sentences,
            warmup_min=config.token_warmup_min,
        ),
        token_warmup=config.token_warmup * config.epochs,
        random_line=config.random_line,
        masks="" if config.masks == "off" else config.masks,
        mask_folder=Path(config.mask_dir) if config.mask_dir.strip() else None,
        prior_weight=config.prior_loss_weight,
        after_folder=Path(config.slider_after) if config.slider_after.strip() else None,
        left_out=frozenset(left_out(config)),
    )


def left_out(config: TrainConfig) -> list[Path]:
    """The pictures that the setting names, each once."""
    names = (name.strip() for name in config.leave_out.split(BETWEEN))
    return [Path(config.data_dir) / name for name in dict.fromkeys(names) if name]


def leaving_out(config: TrainConfig, pictures: Iterable[Path]) -> TrainConfig:
    """The config without what further ``pictures`` of its folder teach.

    Raises:
        UserError: one lies elsewhere, or has a name that the setting cannot hold.
    """
    folder = Path(config.data_dir)
    names = []
    for path in dict.fromkeys([*left_out(config), *pictures]):
        if folder not in path.parents or ".." in path.parts:
            fix = f"Choose pictures below {folder}"
            raise UserError("This picture does not belong to the run", where=path, fix=fix)
        name = path.relative_to(folder).as_posix()
        if BETWEEN in name or name != name.strip():
            what = f"A name with {BETWEEN} or with blanks at its ends cannot be left out"
            raise UserError(what, where=path, fix="Rename the picture, and train with it from the beginning")
        names.append(name)
    return replace(config, leave_out=BETWEEN.join(names))


def usable_scan(config: TrainConfig) -> Scan:
    """What the folder holds.

    Raises:
        UserError: no usable image; says what was wrong with those that are there.
    """
    found = scan(dataset_config(config))
    if not found.subject:
        problems = "; ".join(str(p) for p in found.problems[:3]) or "the folder is empty"
        raise UserError(f"No usable image ({problems})", where=config.data_dir, fix="Choose a folder with images")
    subject = {item.path for item in found.subject}
    for path in left_out(config):
        if path not in subject:
            fix = f"Write names as they are below the folder, and {BETWEEN} between them"
            raise UserError(f"There is no such picture to leave out: {path.name}", where="leave_out", fix=fix)
    if subject <= set(left_out(config)):
        raise UserError("All pictures are left out", where="leave_out", fix="Leave some in")
    return found


def data_hash(found: Scan, hashes: FileHashes) -> str:
    """Changes when images are added, removed, edited, re-captioned or repeated otherwise; not when the folder moves."""
    digest = hashlib.sha256()
    for item in found.items:
        digest.update(repr((hashes.sha256(item.path), item.concept.repeats, item.caption)).encode())
        if item.concept.regularisation or item.lines:
            digest.update(repr((item.concept.regularisation, item.lines)).encode())
        for further in (item.mask_path, item.after_path):
            if further is not None:
                digest.update(hashes.sha256(further).encode())
    return digest.hexdigest()
