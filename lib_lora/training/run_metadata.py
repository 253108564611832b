"""What every LoRA file of a run says about how it was made, in kohya's words."""

from __future__ import annotations

import time
from collections import Counter

from lib_lora import __version__
from lib_lora.adapters import metadata
from lib_lora.adapters.dropout import Dropout
from lib_lora.adapters.selection import NetworkSpec
from lib_lora.dataset.batches import samples
from lib_lora.dataset.caption import split_tags
from lib_lora.dataset.scan import Scan
from lib_lora.models.base import LoadedModel
from lib_lora.models.families import family
from lib_lora.models.schedule import NoiseSchedule
from lib_lora.training.block_ranks import parse_block_ranks
from lib_lora.training.config import TrainConfig
from lib_lora.training.length import epochs_begun
from lib_lora.training.optimizers import recipe_of
from lib_lora.training.run import Record

ABSENT = {  # what kohya also writes, for options that do not exist here
    "face_crop_aug_range": None,
    "full_fp16": False,
    "lowram": False,
}


def network_spec(config: TrainConfig) -> NetworkSpec:
    """What the settings adapt; a learning rate of 0 leaves its part without adapters."""
    c = config
    by_block = parse_block_ranks(c.block_ranks, "block_ranks")
    conv_by_block = parse_block_ranks(c.conv_block_ranks, "conv_block_ranks")
    return NetworkSpec(
        algorithm=c.algorithm,
        rank=c.rank,
        alpha=c.alpha,
        conv_rank=c.conv_rank,
        conv_alpha=c.conv_alpha,
        train_unet=c.unet_lr > 0,
        train_text_encoder=c.te_lr > 0,
        layers=c.layers,
        dora=c.dora,
        rs_lora=c.rs_lora,
        tucker=c.tucker,
        factor=c.lokr_factor,
        decompose_both=c.lokr_both,
        full_matrix=c.lokr_full,
        constraint=c.constraint,
        train_norm=c.train_norm,
        block_ranks=by_block.ranks,
        block_alphas=by_block.alphas,
        conv_block_ranks=conv_by_block.ranks,
        conv_block_alphas=conv_by_block.alphas,
        dropout=Dropout(c.network_dropout, c.rank_dropout, c.module_dropout, c.nested_ranks, c.tlora_rank),
    )


def run_metadata(
    record: Record, config: TrainConfig, scan: Scan, model: LoadedModel, batches: int, total: int, per_epoch: int
) -> dict[str, str]:
    """Metadata without epoch and step.

    Times come from the run's creation record: a resumed run must write the same bytes as an uninterrupted one, so there
    is no ``ss_training_finished_at``.
    """
    hashes = model.hashes()
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
    return {
        **metadata.network(network_spec(config)),
        **metadata.base_model(family(model.family), model.prediction),
        **metadata.kohya(_settings(record, config, total, per_epoch)),
        **metadata.kohya({"zero_terminal_snr": config.zero_terminal_snr or _is_zero_terminal(model)}),
        **metadata.kohya({"new_sd_model_hash": hashes["model"], "new_vae_hash": hashes["vae"]}),
        **metadata.kohya(_dataset(config, scan, batches)),
        **metadata.modelspec(
            title=config.name,
            date=created,
            resolution=f"{config.resolution}x{config.resolution}",
            encoder_layer=str(config.clip_skip),
            trigger_phrase=config.trigger or None,
        ),
    }


def _settings(record: Record, config: TrainConfig, total: int, per_epoch: int) -> dict[str, object]:
    c = config
    return {
        "session_id": record.session_id,
        "training_started_at": record.created,
        "training_comment": f"LoRA Workbench {__version__}",
        "output_name": c.name,
        "sd_model_name": record.model,
        "learning_rate": c.unet_lr,
        "unet_lr": c.unet_lr,
        "text_encoder_lr": c.te_lr,
        "optimizer": _optimizer(c),
        "scale_weight_norms": c.scale_weight_norms or None,
        "lr_scheduler": c.schedule,
        "lr_warmup_steps": round(total * c.warmup),
        "max_train_steps": total,
        "num_epochs": epochs_begun(c, per_epoch),
        "gradient_checkpointing": c.gradient_checkpointing,
        "gradient_accumulation_steps": c.gradient_accumulation,
        "max_grad_norm": c.max_grad_norm,
        "fp8_base": c.fp8_base,
        "mixed_precision": c.precision if c.precision in ("bf16", "fp16") else "no",
        "clip_skip": c.clip_skip,
        "max_token_length": c.max_tokens,
        "cache_latents": True,
        "seed": c.seed,
        **_noise_and_loss(c),
        **ABSENT,
    }


def _optimizer(c: TrainConfig) -> str:
    recipe = recipe_of(c.optimizer)
    betas = "" if recipe.betas is None else f",betas=({c.beta1}, {c.beta2})"
    own = "".join(f",{word}" for word in c.optimizer_args.split())
    return f"{recipe.package}.{recipe.kind}(weight_decay={c.weight_decay}{betas}{own})"


def _noise_and_loss(c: TrainConfig) -> dict[str, object]:
    huber = c.loss_type in ("huber", "smooth_l1")
    return {
        "noise_offset": c.noise_offset or None,
        "noise_offset_random_strength": c.noise_offset_random,
        "adaptive_noise_scale": c.adaptive_noise_scale or None,
        "multires_noise_iterations": c.multires_iterations or None,
        "multires_noise_discount": c.multires_discount,
        "ip_noise_gamma": c.ip_noise_gamma or None,
        "ip_noise_gamma_random_strength": c.ip_noise_gamma_random,
        "min_snr_gamma": c.min_snr_gamma or None,
        "debiased_estimation": c.debiased_estimation,
        "loss_type": c.loss_type,
        "huber_schedule": c.huber_schedule if huber else None,
        "huber_c": c.huber_c if huber else None,
        "huber_scale": c.huber_scale if huber else None,
    }


def _is_zero_terminal(model: LoadedModel) -> bool:
    """Whether its own schedule is one; a flow's last step is pure noise anyway."""
    return isinstance(model.schedule, NoiseSchedule) and model.schedule.zero_terminal


def _dataset(config: TrainConfig, scan: Scan, batches: int) -> dict[str, object]:
    c = config
    images = Counter(item.concept for item in scan.items)
    folders: dict[bool, dict[str, dict[str, int]]] = {False: {}, True: {}}
    for concept in scan.concepts:
        row = {"n_repeats": concept.repeats, "img_count": images[concept]}
        folders[concept.regularisation][concept.path.name] = row
    return {
        "num_train_images": scan.samples_per_epoch,
        "num_reg_images": len(samples(scan)) - scan.samples_per_epoch,
        "reg_dataset_dirs": folders[True],
        "prior_loss_weight": c.prior_loss_weight,
        "num_batches_per_epoch": batches,
        "total_batch_size": c.batch_size,
        "batch_size_per_device": c.batch_size,
        "resolution": str((c.resolution, c.resolution)),
        "enable_bucket": True,
        "bucket_no_upscale": c.no_upscale,
        "min_bucket_reso": c.bucket_min or c.resolution // 2,
        "max_bucket_reso": c.bucket_max or c.resolution * 2,
        "bucket_info": _bucket_info(scan),
        "flip_aug": c.flip,
        "color_aug": c.color_aug,
        "random_crop": c.random_crop,
        "shuffle_caption": c.shuffle,
        "keep_tokens": c.keep_tokens,
        "caption_dropout_rate": c.caption_dropout,
        "caption_dropout_every_n_epochs": c.caption_dropout_every_n_epochs,
        "caption_tag_dropout_rate": c.tag_dropout,
        "dataset_dirs": folders[False],
        "tag_frequency": _tag_frequency(config, scan),
    }


def _bucket_info(scan: Scan) -> dict[str, object]:
    counts: Counter[tuple[int, int]] = Counter()
    for item in scan.items:
        counts[item.bucket] += item.concept.repeats
    rows = {str(i): {"resolution": list(size), "count": n} for i, (size, n) in enumerate(sorted(counts.items()))}
    return {"buckets": rows}


def _tag_frequency(config: TrainConfig, scan: Scan) -> dict[str, dict[str, int]]:
    """Folder -> tag -> images; hosts show it as tag buttons."""
    trigger = split_tags(config.trigger)
    tags: dict[str, Counter[str]] = {}
    for item in scan.subject:
        counted = tags.setdefault(item.concept.path.name, Counter())
        counted.update([*trigger, *(tag for tag in split_tags(item.caption) if tag not in trigger)])
    return {folder: dict(counted.most_common()) for folder, counted in tags.items()}
