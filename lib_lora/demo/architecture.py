"""The miniature Stable Diffusion 1.x: its shape, its modules and its single-file checkpoint.

It has exactly SD1.5's topology and key names in narrow widths that ldm's yaml can express. The file is an ldm
checkpoint with a side-car yaml. Its token embedding may be compact: only the rows of the tokens that were trained, with
their ids in the tensor ``lora_workbench.token_ids``; ``expand_token_embedding`` rebuilds the other rows on load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextModel

from lib_lora.files import atomic_write, write_text
from lib_lora.hosts.standalone import shape as shapes
from lib_lora.hosts.standalone.shape import Shape
from lib_lora.hosts.standalone.tokens import FULL_VOCAB, TOKEN_IDS_KEY, TOKEN_KEY, expand_token_embedding
from lib_lora.models import layers

__all__ = [
    "MINIATURE",
    "build_text_encoder",
    "build_unet",
    "build_vae",
    "expand_token_embedding",
    "random_checkpoint",
    "save_checkpoint",
]

MINIATURE = Shape(
    unet_channels=(64, 128, 64, 64),
    vae_channels=(64, 128, 64, 64),
    text_width=128,
    text_mlp=512,
    text_layers=12,
    text_heads=4,
)
TEST_SHAPE = Shape(
    unet_channels=(32, 64, 96, 96),
    vae_channels=(64, 128, 64, 64),  # SD1.5 changes width in the same places, so all its keys are there
    text_width=32,
    text_mlp=64,
    text_layers=2,
    text_heads=2,
)
TEST_TOKENS = 300  # rows that random_checkpoint stores


def build_unet() -> UNet2DConditionModel:
    """The miniature's U-Net: channels 64, 128, 64, 64, eight heads, cross-attention width 128; 686 tensors."""
    return shapes.build_unet(MINIATURE)


def build_vae() -> AutoencoderKL:
    """The miniature's KL-VAE: channels 64, 128, 64, 64, four latent channels, eight pixels to a latent; 248 tensors."""
    return shapes.build_vae(MINIATURE.vae_channels)


def build_text_encoder(vocab: int = FULL_VOCAB) -> CLIPTextModel:
    """The miniature's CLIP text model: width 128, 12 layers, four heads, 77 positions.

    Args:
        vocab: rows of the token embedding; fewer than CLIP's 49408 for training on a compact table.
    """
    return shapes.build_text_encoder(_with_vocab(MINIATURE, vocab))


def save_checkpoint(
    path: str | Path,
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    token_ids: Sequence[int] | Tensor | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write one fp16 ldm file and its side-car yaml, each whole or not at all.

    Args:
        path: the ``.safetensors`` file; the yaml gets the same name.
        unet, vae, text_encoder: modules of any SD1 shape.
        token_ids: store the token embedding compactly. Either the ids of the rows to keep of a full table, or, when the
            text encoder itself has one row per id, the ids that its rows stand for. None stores the table as it is.
        metadata: strings for the file's header.

    Raises:
        ValueError: ``token_ids`` fits neither reading.
    """
    path = Path(path)
    tensors = {
        **layers.unet_to_ldm(unet.state_dict()),
        **layers.vae_to_ldm(vae.state_dict()),
        **layers.clip_to_ldm(text_encoder.state_dict()),
    }
    tensors = {key: t.detach().to("cpu", torch.float16).contiguous() for key, t in tensors.items()}
    if token_ids is not None:
        ids = torch.as_tensor(token_ids, dtype=torch.int32).cpu()
        tensors[TOKEN_KEY] = _compact_rows(tensors[TOKEN_KEY], ids)
        tensors[TOKEN_IDS_KEY] = ids
    with atomic_write(path) as part:
        save_file(tensors, part, {"format": "pt", **(metadata or {})})
    write_text(path.with_suffix(".yaml"), ldm_yaml(unet, vae, text_encoder))
    return path


def _compact_rows(table: Tensor, ids: Tensor) -> Tensor:
    if len(table) == len(ids):
        return table
    if len(ids) == 0 or int(ids.max()) >= len(table):
        raise ValueError(f"token ids do not fit an embedding of {len(table)} rows")
    return table[ids.long()].contiguous()


def random_checkpoint(path: str | Path, seed: int, shape: Shape = TEST_SHAPE) -> Path:
    """A checkpoint of random weights for tests, by default far narrower than the miniature.

    The text encoder's final LayerNorm is randomised too: at weight 1 and bias 0 every conditioning has mean exactly 0,
    and web UIs divide by that mean.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet, vae = shapes.build_unet(shape), shapes.build_vae(shape.vae_channels)
        text_encoder = shapes.build_text_encoder(_with_vocab(shape, TEST_TOKENS))
        norm = text_encoder.get_submodule(_final_norm(text_encoder))
        torch.nn.init.normal_(norm.weight, 1.0, 0.1)
        torch.nn.init.normal_(norm.bias, 0.05, 0.1)
        ids = [*torch.randperm(FULL_VOCAB - 2)[: TEST_TOKENS - 2].tolist(), FULL_VOCAB - 2, FULL_VOCAB - 1]
    return save_checkpoint(path, unet, vae, text_encoder, sorted(ids), {"modelspec.title": "random test model"})


def ldm_yaml(unet: UNet2DConditionModel, vae: AutoencoderKL, text_encoder: CLIPTextModel) -> str:
    """The side-car in ldm's own terms; ``cond_stage_config.clip`` is ours, ldm reads only target and params."""
    channels, vae_channels, clip = unet.config.block_out_channels, vae.config.block_out_channels, text_encoder.config
    return SIDE_CAR.format(
        model_channels=channels[0],
        channel_mult=[c // channels[0] for c in channels],
        heads=unet.config.attention_head_dim,
        context=unet.config.cross_attention_dim,
        vae_ch=vae_channels[0],
        vae_mult=[c // vae_channels[0] for c in vae_channels],
        clip_width=clip.hidden_size,
        clip_mlp=clip.intermediate_size,
        clip_layers=clip.num_hidden_layers,
        clip_heads=clip.num_attention_heads,
    )


def _with_vocab(shape: Shape, vocab: int) -> Shape:
    return Shape(**{**vars(shape), "vocab": vocab})


def _final_norm(text_encoder: CLIPTextModel) -> str:
    return next(name for name, _ in text_encoder.named_modules() if name.endswith("final_layer_norm"))


SIDE_CAR = """\
model:
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    parameterization: eps
    linear_start: 0.00085
    linear_end: 0.0120
    num_timesteps_cond: 1
    log_every_t: 200
    timesteps: 1000
    first_stage_key: jpg
    cond_stage_key: txt
    image_size: 64
    channels: 4
    cond_stage_trainable: false
    conditioning_key: crossattn
    monitor: val/loss_simple_ema
    scale_factor: 0.18215
    use_ema: false
    unet_config:
      target: ldm.modules.diffusionmodules.openaimodel.UNetModel
      params:
        image_size: 32
        in_channels: 4
        out_channels: 4
        model_channels: {model_channels}
        attention_resolutions: [4, 2, 1]
        num_res_blocks: 2
        channel_mult: {channel_mult}
        num_heads: {heads}
        use_spatial_transformer: true
        transformer_depth: 1
        context_dim: {context}
        use_checkpoint: false
        legacy: false
    first_stage_config:
      target: ldm.models.autoencoder.AutoencoderKL
      params:
        embed_dim: 4
        monitor: val/rec_loss
        ddconfig:
          double_z: true
          z_channels: 4
          resolution: 256
          in_channels: 3
          out_ch: 3
          ch: {vae_ch}
          ch_mult: {vae_mult}
          num_res_blocks: 2
          attn_resolutions: []
          dropout: 0.0
        lossconfig:
          target: torch.nn.Identity
    cond_stage_config:
      target: ldm.modules.encoders.modules.FrozenCLIPEmbedder
      clip:
        hidden_size: {clip_width}
        intermediate_size: {clip_mlp}
        num_hidden_layers: {clip_layers}
        num_attention_heads: {clip_heads}
"""
