"""Narrow transformers of random weights in diffusers' folders, each built from diffusers' and transformers' classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ("<pad>", "<s>", "</s>", "<unk>", "a", "girl", "with", "red", "hair", ",", "mira", "<|im_start|>", "<|im_end|>")
CHAT = "{% for m in messages %}<|im_start|> {{ m['role'] }} {{ m['content'] }} <|im_end|> {% endfor %}"
LENGTH = 32  # to which captions are filled up here; 512 would take the tests minutes
LONG = 1024  # limit of the tokenizers of pipelines that put about 30 words before each caption: room for them


def tokenizer(limit: int = 512) -> transformers.PreTrainedTokenizerFast:
    """Words for tokens; those that it does not know are one."""
    core = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    words = [pre_tokenizers.WhitespaceSplit(), *([pre_tokenizers.Punctuation()] if limit == LONG else [])]
    core.pre_tokenizer = pre_tokenizers.Sequence(words)
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    found = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=limit
    )
    found.chat_template = CHAT
    return found


@contextmanager
def short_captions() -> Iterator[None]:
    """Tokenizers that fill up to ``LENGTH`` where diffusers' pipelines ask for 256, 512 or 1024."""
    call = transformers.PreTrainedTokenizerFast.__call__

    def shorter(self: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("max_length"):
            kwargs["max_length"] = min(kwargs["max_length"], 3 * LENGTH if self.model_max_length == LONG else LENGTH)
        return call(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.PreTrainedTokenizerFast, "__call__", shorter)
        yield


def qwen3(width: int = 32, layers: int = 3, kind: str = "Qwen3Model") -> Any:
    config = transformers.Qwen3Config(
        vocab_size=len(WORDS), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=1, head_dim=width // 2, max_position_embeddings=2048,
    )  # fmt: skip
    return getattr(transformers, kind)(config)


def gemma2() -> Any:
    return transformers.Gemma2Model(
        transformers.Gemma2Config(
            vocab_size=len(WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=16, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )
    )  # fmt: skip


def seeing(name: str, kind: str) -> Any:
    """A language model that can look at pictures too, as the Qwen family ``name``, in its class ``kind``."""
    text = dict(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, rope_scaling={"rope_type": "default", "mrope_section": [2, 3, 3]},
    )  # fmt: skip
    eyes = dict(depth=1, hidden_size=32, out_hidden_size=32, intermediate_size=64, num_heads=2)
    config = getattr(transformers, f"{name}Config")(text_config=text, vision_config=eyes)
    return getattr(transformers, kind)(config)


def t5(width: int = 32) -> Any:
    return transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=len(WORDS), d_model=width, d_kv=16, d_ff=64, num_layers=2, num_heads=2,
            feed_forward_proj="gated-gelu", pad_token_id=0, eos_token_id=2,
        )
    )  # fmt: skip


def clip(width: int = 16, projected: bool = False) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=len(WORDS), hidden_size=width, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        projection_dim=width, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(config)


def vae(channels: int = 16, **more: Any) -> Any:
    levels = 4
    return diffusers.AutoencoderKL(
        block_out_channels=(8,) * levels, layers_per_block=1, norm_num_groups=4, latent_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels,
        use_quant_conv=False, use_post_quant_conv=False, **{"scaling_factor": 0.3611, "shift_factor": 0.1159, **more},
    )  # fmt: skip


def flux2_vae() -> Any:
    return diffusers.AutoencoderKLFlux2(
        block_out_channels=(8,) * 4, layers_per_block=1, norm_num_groups=4, latent_channels=32,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip


def video_vae() -> Any:
    return diffusers.AutoencoderKLQwenImage(base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)


def flow(**options: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**options)


def _z_image() -> dict[str, Any]:
    return {
        "transformer": diffusers.ZImageTransformer2DModel(
            dim=64, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=32, axes_dims=[8, 12, 12],
            axes_lens=[256, 64, 64],
        ),
        "vae": vae(), "text_encoder": qwen3(), "tokenizer": tokenizer(), "scheduler": flow(shift=3.0),
    }  # fmt: skip


FLUX = dict(
    num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=4, joint_attention_dim=32,
    axes_dims_rope=(4, 6, 6), in_channels=64,
)  # fmt: skip


def _flux1() -> dict[str, Any]:
    return {
        "transformer": diffusers.FluxTransformer2DModel(pooled_projection_dim=16, guidance_embeds=True, **FLUX),
        "vae": vae(), "text_encoder": clip(), "tokenizer": tokenizer(77), "text_encoder_2": t5(),
        "tokenizer_2": tokenizer(), "scheduler": flow(use_dynamic_shifting=True),
    }  # fmt: skip


def _chroma() -> dict[str, Any]:
    return {
        "transformer": diffusers.ChromaTransformer2DModel(
            approximator_num_channels=64, approximator_hidden_dim=32, approximator_layers=5, **FLUX
        ),
        "vae": vae(), "text_encoder": t5(), "tokenizer": tokenizer(), "scheduler": flow(),
    }  # fmt: skip


def _klein4b() -> dict[str, Any]:
    return {
        "transformer": diffusers.Flux2Transformer2DModel(
            in_channels=128, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=4,
            joint_attention_dim=96, timestep_guidance_channels=32, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
        ),
        "vae": flux2_vae(), "text_encoder": qwen3(layers=28, kind="Qwen3ForCausalLM"), "tokenizer": tokenizer(),
        "scheduler": flow(use_dynamic_shifting=True),
    }  # fmt: skip


def _anima() -> dict[str, Any]:
    return {
        "transformer": diffusers.CosmosTransformer3DModel(
            num_attention_heads=2, attention_head_dim=32, num_layers=3, text_embed_dim=32, adaln_lora_dim=8,
            extra_pos_embed_type=None, rope_scale=(1.0, 4.0, 4.0),
        ),
        "vae": video_vae(), "text_encoder": qwen3(), "tokenizer": tokenizer(), "t5_tokenizer": tokenizer(),
        "text_conditioner": diffusers.AnimaTextConditioner(
            source_dim=32, target_dim=32, model_dim=32, num_layers=2, num_attention_heads=2,
            target_vocab_size=len(WORDS), min_sequence_length=LENGTH,
        ),
        "scheduler": flow(shift=3.0),
    }  # fmt: skip


def _lumina2() -> dict[str, Any]:
    return {
        "transformer": diffusers.Lumina2Transformer2DModel(
            hidden_size=72, num_layers=2, num_refiner_layers=1, num_attention_heads=3, num_kv_heads=1, multiple_of=8,
            axes_dim_rope=(8, 8, 8), axes_lens=(64, 32, 32), cap_feat_dim=32,
        ),
        "vae": vae(), "text_encoder": gemma2(), "tokenizer": tokenizer(LONG), "scheduler": flow(shift=6.0),
    }  # fmt: skip


def _krea2() -> dict[str, Any]:
    return {
        "transformer": diffusers.Krea2Transformer2DModel(
            num_layers=2, attention_head_dim=16, num_attention_heads=4, num_key_value_heads=1, intermediate_size=96,
            timestep_embed_dim=32, text_hidden_dim=32, num_text_layers=2, text_num_attention_heads=2,
            text_num_key_value_heads=2, text_intermediate_size=64, num_layerwise_text_blocks=1,
            num_refiner_text_blocks=1, axes_dims_rope=(4, 6, 6),
        ),
        "vae": video_vae(), "text_encoder": seeing("Qwen3VL", "Qwen3VLModel"), "tokenizer": tokenizer(LONG),
        "scheduler": flow(shift=2.5), "text_encoder_select_layers": (1, 3), "is_distilled": False, "patch_size": 2,
    }  # fmt: skip


def _qwen_image() -> dict[str, Any]:
    return {
        "transformer": diffusers.QwenImageTransformer2DModel(
            num_layers=2, attention_head_dim=16, num_attention_heads=4, joint_attention_dim=32,
            axes_dims_rope=(4, 6, 6),
        ),
        "vae": video_vae(), "text_encoder": seeing("Qwen2_5_VL", "Qwen2_5_VLForConditionalGeneration"),
        "tokenizer": tokenizer(LONG), "scheduler": flow(shift=1.15),
    }  # fmt: skip


def _sd35() -> dict[str, Any]:
    return {
        "transformer": diffusers.SD3Transformer2DModel(
            sample_size=16, num_layers=3, attention_head_dim=16, num_attention_heads=4, joint_attention_dim=32,
            caption_projection_dim=64, pooled_projection_dim=32, pos_embed_max_size=16, dual_attention_layers=(0, 1),
            qk_norm="rms_norm",
        ),
        "vae": vae(scaling_factor=1.5305, shift_factor=0.0609), "text_encoder": clip(projected=True),
        "tokenizer": tokenizer(77), "text_encoder_2": clip(projected=True), "tokenizer_2": tokenizer(77),
        "text_encoder_3": t5(), "tokenizer_3": tokenizer(), "scheduler": flow(shift=3.0),
    }  # fmt: skip


FAMILIES: dict[str, Callable[[], dict[str, Any]]] = {
    "anima": _anima,
    "z_image": _z_image,
    "flux1": _flux1,
    "chroma": _chroma,
    "klein4b": _klein4b,
    "lumina2": _lumina2,
    "krea2": _krea2,
    "qwen_image": _qwen_image,
    "sd35_medium": _sd35,
}


def write(folder: Path, family: str, seed: int = 0) -> Path:
    """A folder of diffusers with such a model; norms and biases are random too, so that nothing is 0 by chance."""
    torch.manual_seed(seed)
    parts = FAMILIES[family]()
    index: dict[str, Any] = {"_class_name": "Pipeline"}
    for name, part in parts.items():
        if not hasattr(part, "save_pretrained"):
            index[name] = part  # a setting of the pipeline's
            continue
        if isinstance(part, torch.nn.Module):
            _stir(part)
        part.save_pretrained(folder / name)
        library = type(part).__module__.partition(".")[0]
        index[name] = ["diffusers" if library == "diffusers" else "transformers", type(part).__name__]
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def _stir(module: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.normal_(0, 0.05)
            elif parameter.ndim == 1:
                parameter.add_(0.05 * torch.randn(parameter.shape))
