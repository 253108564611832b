"""CLIP's tokenizer from the byte-pair vocabulary that is shipped with us, so that nothing is ever downloaded."""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import CLIPTokenizer

from lib_lora.files import write_text

BPE_FILE = Path(__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
MERGES = 49152 - 256 - 2  # as in openai/CLIP simple_tokenizer.py; the file holds more than CLIP uses
NO_LIMIT = 1_000_000  # long captions are chunked later, a warning for each would only frighten


@lru_cache(maxsize=1)
def clip_tokenizer() -> CLIPTokenizer:
    """The tokenizer of Stable Diffusion 1.x: 49408 ids, begin 49406, end 49407."""
    with TemporaryDirectory() as folder:
        write_vocabulary(Path(folder))
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True, model_max_length=NO_LIMIT)


def write_vocabulary(folder: Path) -> None:
    """Write ``vocab.json`` and ``merges.txt``, of which transformers makes the tokenizer, into ``folder``."""
    merges = gzip.decompress(BPE_FILE.read_bytes()).decode("utf-8").split("\n")[1 : MERGES + 1]
    symbols = _byte_symbols()
    words = symbols + [s + "</w>" for s in symbols] + [m.replace(" ", "") for m in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {word: index for index, word in enumerate(words)}
    write_text(folder / "vocab.json", json.dumps(vocab))
    write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *merges]))


def _byte_symbols() -> list[str]:
    """One printable character per byte, printable Latin-1 first, as in GPT-2's byte-level BPE."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]
