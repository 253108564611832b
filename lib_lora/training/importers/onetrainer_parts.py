"""OneTrainer's parts of a model, and which of their layers are trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib_lora.adapters.selection import ATTENTION_PRESET, CONV_PRESET, MLP_PRESET
from lib_lora.training.importers.kohya_network import PRESETS
from lib_lora.training.importers.report import Reading
from lib_lora.training.importers.tables import Option, Reader, ignored
from lib_lora.training.importers.values import count, not_negative, switch, text

RATE = 3e-6  # OneTrainer's default
OTHER = "For another family of models, or another part of one"
LABELS = {"unet": "U-Net", "te": "Text encoder"}
# Its choices of layers, and the patterns that it puts in their place, which are searched in the names of modules
CHOICES = {**PRESETS, "blocks": MLP_PRESET}
PATTERNS = {
    "": CONV_PRESET,
    "attentions": MLP_PRESET,
    "transformer_block": MLP_PRESET,
    "layers": MLP_PRESET,
    "attn1,attn2,ff": MLP_PRESET,
    "attn,ff.net": MLP_PRESET,
    "attn,ff.net,proj_mlp": MLP_PRESET,
    "^(?=.*attention)(?!.*refiner).*,^(?=.*feed_forward)(?!.*refiner).*": MLP_PRESET,
    "attn": ATTENTION_PRESET,
    "attn1,attn2": ATTENTION_PRESET,
    "^(?=.*attention)(?!.*refiner).*": ATTENTION_PRESET,
}


def _denoiser(given: Mapping[str, Any]) -> str:
    """Which of the parts is the denoiser; a whole configuration has them all."""
    model = str(given.get("model_type", "")).upper()
    if model:
        return "unet" if model.startswith("STABLE_DIFFUSION") and "_3" not in model else "transformer"
    named = {key.split(".")[0] for key in given}
    return "transformer" if "transformer" in named and "unet" not in named else "unet"


def _ours(part: str, given: Mapping[str, Any]) -> str | None:
    """Our name of a part, ``"unet"`` or ``"te"``; None for one that the model does not have."""
    if part == "text_encoder":
        return "te"
    return "unet" if part == _denoiser(given) else None


def _rate_of(part: str, given: Mapping[str, Any]) -> float:
    """A part's own rate, else that of all; 0 where it is not trained."""
    own = given.get(f"{part}.learning_rate", given.get("learning_rate", RATE))
    return own if given.get(f"{part}.train", True) else 0.0


def _rate(part: str, reader: Reader) -> Option:
    def use(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
        if ours := _ours(part, given):
            rate = _rate_of(part, given)
            reading.translate(key, f"{LABELS[ours]} {rate:g}", **{f"{ours}_lr": rate})
        else:
            reading.ignore(key, OTHER)

    return reader, use


def _all_rates(reading: Reading, key: str, value: float, given: Mapping[str, Any]) -> None:
    unet, te = (_rate_of(part, given) for part in (_denoiser(given), "text_encoder"))
    reading.translate(key, f"U-Net {unet:g}, text encoder {te:g}", unet_lr=unet, te_lr=te)


def _stop(part: str) -> Option:
    def use(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
        unit = given.get(f"{part}.stop_training_after_unit", "EPOCH" if part == "text_encoder" else "NEVER")
        ours = _ours(part, given)
        if ours is None:
            reading.ignore(key, OTHER)
        elif unit.upper() == "EPOCH":
            reading.apply(key, value, f"stop_{ours}_after")
        else:
            reading.values[f"stop_{ours}_after"] = 0
            reading.ignore(key, "Off" if unit.upper() == "NEVER" else "Counted in epochs here")

    return count, use


def _unit(part: str) -> Option:
    def use(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
        ours = _ours(part, given)
        if ours and f"{part}.stop_training_after" not in given and value.upper() != "EPOCH":
            reading.values[f"stop_{ours}_after"] = 0
        reading.translate(key, "Says how the number beside it counts")

    return text, use


def _preset(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    if value in CHOICES:
        reading.translate(key, f"Layers = {CHOICES[value]}", layers=CHOICES[value])
    elif given.get("layer_filter"):
        reading.translate(key, "See layer_filter")
    else:
        reading.ignore(key, "Choose the layers here")


def _filter(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    """What the preset says where it is one of OneTrainer's, for the patterns are then its."""
    found = PATTERNS.get(",".join(part.strip() for part in value.split(",")))
    if given.get("layer_filter_preset") in CHOICES:
        reading.translate(key, "As its preset says")
    elif found:
        reading.translate(key, f"Layers = {found}", layers=found)
    else:
        reading.ignore(key, "Names of modules in that program. Choose the layers here; the result will differ")


def _parts(part: str) -> dict[str, Option]:
    return {
        f"{part}.train": _rate(part, switch),
        f"{part}.learning_rate": _rate(part, not_negative),
        f"{part}.stop_training_after": _stop(part),
        f"{part}.stop_training_after_unit": _unit(part),
    }


OPTIONS: dict[str, Option] = {
    "learning_rate": (not_negative, _all_rates),
    "layer_filter_preset": (text, _preset),
    "layer_filter": (text, _filter),
    "layer_filter_regex": ignored("Says how the patterns beside it are read"),
    **_parts("unet"),
    **_parts("transformer"),
    **_parts("text_encoder"),
    **dict.fromkeys(
        (
            "prior.", "transformer.", "unconditional_transformer.", "text_encoder_2.", "text_encoder_3.",
            "text_encoder_4.", "effnet_encoder.", "decoder.", "vae.", "decoder_text_encoder.", "decoder_vqgan.",
            "quantization.", "embedding.",
        ),
        ignored(OTHER),
    ),
}  # fmt: skip
