"""The miniature inside a web UI of A1111's kind: a checkpoint that its own loader takes, and nothing to download.

Such a web UI builds a model from the yaml beside the checkpoint. The yaml names a folder for the text encoder, where
``transformers`` finds its shape and its tokenizer; OpenAI's, which the web UI would download, has another width.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import yaml

from lib_lora.errors import UserError
from lib_lora.files import atomic_write, write_text

from . import CHECKPOINT

CLIP = {  # what CLIPTextModel needs to know besides its widths, as in OpenAI's published config
    "architectures": ["CLIPTextModel"],
    "model_type": "clip_text_model",
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
TOKENIZER = {
    "tokenizer_class": "CLIPTokenizer",
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "unk_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
    "model_max_length": 77,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m lib_lora demo export``."""
    parser.add_argument("--webui", type=Path, required=True, metavar="DIR", help="the folder of the web UI")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="default: the embedded miniature")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was written."""
    print(export(args.checkpoint, args.webui))
    return 0


def export(checkpoint: Path, web_ui: Path) -> Path:
    """Put a checkpoint, its yaml and its text encoder's folder among a web UI's models; returns the checkpoint there.

    Of several exports of one name the last counts.

    Args:
        checkpoint: an SD1 checkpoint with a side-car yaml, its token embedding compact or full.
        web_ui: the web UI's own folder, the one with ``webui.py``, or its data folder.

    Raises:
        UserError: that is no web UI's folder, or the checkpoint cannot be read.
    """
    models = web_ui / "models" / "Stable-diffusion"
    if not models.is_dir():
        raise UserError("This is not a web UI's folder", where=web_ui, fix="Name the one that has models in it")
    target = models.resolve() / checkpoint.name
    clip = target.with_name(f"{target.stem}-clip")
    _write_weights(checkpoint, target)
    content = yaml.safe_load(checkpoint.with_suffix(".yaml").read_text(encoding="utf-8"))
    text = content["model"]["params"]["cond_stage_config"]
    _write_clip(clip, text["clip"])
    text["params"] = {"version": str(clip), "device": "cpu"}  # the web UI moves it to where it belongs
    write_text(target.with_suffix(".yaml"), yaml.safe_dump(content, sort_keys=False))
    return target


def _write_weights(source: Path, target: Path) -> None:
    """The checkpoint with all rows of the token embedding, which is how a web UI expects it."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    from lib_lora.hosts.standalone.tensors import read_tensors
    from lib_lora.hosts.standalone.tokens import TOKEN_IDS_KEY, TOKEN_KEY, expand_token_embedding

    tensors = read_tensors(source)
    ids = tensors.pop(TOKEN_IDS_KEY, None)
    if ids is not None:
        tensors[TOKEN_KEY] = expand_token_embedding(tensors[TOKEN_KEY], ids).to(torch.float16)
    with safe_open(source, "pt") as file:
        metadata = file.metadata()
    with atomic_write(target) as part:
        save_file(tensors, part, metadata)


def _write_clip(folder: Path, widths: dict[str, int]) -> None:
    from lib_lora.hosts.standalone.tokenizer import write_vocabulary
    from lib_lora.hosts.standalone.tokens import FULL_VOCAB

    folder.mkdir(exist_ok=True)
    write_vocabulary(folder)
    config = {**CLIP, **widths, "vocab_size": FULL_VOCAB, "max_position_embeddings": 77}
    write_text(folder / "config.json", json.dumps(config, indent=2))
    write_text(folder / "tokenizer_config.json", json.dumps(TOKENIZER, indent=2))
