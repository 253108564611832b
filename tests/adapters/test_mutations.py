"""Damaged and odd LoRA files: each is read and works, or is refused with a message."""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lib_lora.adapters.algorithms import algorithms
from lib_lora.adapters.file import open_lora, read_lora, to_delta
from lib_lora.adapters.loaders import kinds_of
from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import NetworkSpec
from lib_lora.errors import UserError
from lib_lora.tools.convert import PROGRAMS, convert
from lib_lora.tools.merge import merge
from tests.rounds import rounds

COUNT = rounds(120)
Header = dict[str, Any]
KEYS = (
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
    "lora_unet_mid_block_resnets_0_conv1",
    "lora_te_text_model_encoder_layers_0_mlp_fc1",
)
ODD_TEXTS = ("", ".", "..", "\x00", "é\u2028", "lora_A", "lora_unet_", ".weight", "🎨" * 50, "[0]", "%s", "x" * 300)
ODD_NUMBERS = (0, 1, -1, 2**31, 2**63, 10**30, 3, 0.5, True, None, "4", [], float("nan"))
SIZES = {"F64": 8, "F16": 2, "BF16": 2, "F8_E4M3": 1, "I64": 8, "U8": 1, "BOOL": 1}
ODD_TYPES = ("F64", "F16", "BF16", "F8_E4M3", "I64", "U8", "BOOL", "F4", "", "f32", None, 32)
SUFFIXES = (
    "lora_up.weight",
    "lora_down.weight",
    "alpha",
    "lora_A.weight",
    "lora_B.default.weight",
    "hada_w1_a",
    "lokr_w1",
    "dora_scale",
    "diff",
    "diff_b",
    "oft_blocks",
    "weight",
    "on_input",
    "a1.weight",
    "w_norm",
    "scalar",
    "ia3_l",
    "lora_mid.weight",
    "lora_magnitude_vector",
    "rescale",
    "bias",
)
METADATA = (
    "ss_network_dim",
    "ss_base_model_version",
    "modelspec.architecture",
    "lora_adapter_metadata",
    "ss_tag_frequency",
    "ss_sd_model_name",
    "ss_network_args",
    "ss_epoch",
    "modelspec.resolution",
    "ss_num_epochs",
)


def sound(rng: random.Random) -> tuple[Header, bytearray]:
    """A good file: its header, and its data."""
    header: Header = {"__metadata__": {"ss_network_dim": "2", "ss_tag_frequency": "{}"}}
    data = bytearray()
    for key in KEYS:
        wide, kernel = 8, [3, 3] if "conv" in key else []
        for name, shape in (("lora_up.weight", [wide, 2] + [1] * len(kernel)), ("lora_down.weight", [2, wide, *kernel]),
                            ("alpha", [])):  # fmt: skip
            count = torch.Size(shape).numel()
            begin = len(data)
            data += struct.pack(f"<{count}f", *(rng.gauss(0, 0.1) for _ in range(count)))
            header[f"{key}.{name}"] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    return header, data


FAMILIES = (
    KEYS,
    ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", "lora_te2_text_model_encoder_layers_0_mlp_fc1"),
    ("lora_unet_double_blocks_0_img_attn_proj", "lora_unet_single_blocks_0_linear1"),
    ("lora_unet_joint_blocks_0_x_block_attn_qkv", "lora_unet_joint_blocks_1_x_block_attn_qkv"),
    ("lora_unet_layers_0_attention_qkv",),
)


def sound_of_any_kind(rng: random.Random) -> tuple[Header, bytearray]:
    """A good file of any algorithm and family, in kohya's or PEFT's spelling."""
    layers = {key: nn.Conv2d(8, 8, 3) if "conv" in key else nn.Linear(8, 8) for key in rng.choice(FAMILIES)}
    kind = algorithms()[rng.choice([name for name in algorithms() if name != "norm"])]
    spec = NetworkSpec(algorithm=kind.algorithm, rank=2, conv_rank=2, tucker=rng.random() < 0.5,
                       dora=kind.wrappable and rng.random() < 0.3)  # fmt: skip
    names = {"lora_up.weight": "lora_B.weight", "lora_down.weight": "lora_A.weight"} if rng.random() < 0.3 else {}
    header: Header = {"__metadata__": {"ss_network_dim": "2"}}
    data = bytearray()
    for key, params in Network.create(layers, spec, seed=rng.randrange(99)).modules().items():
        for name, value in params.items():
            raw = (value.float() + torch.randn(value.shape, generator=torch.Generator().manual_seed(1)) * 0.1).numpy()
            header[f"{key}.{names.get(name, name)}"] = {
                "dtype": "F32", "shape": list(value.shape), "data_offsets": [len(data), len(data) + raw.nbytes]
            }  # fmt: skip
            data += raw.tobytes()
    return header, data


def tensor(rng: random.Random, header: Header) -> str:
    return rng.choice([name for name in header if name != "__metadata__"] or [next(iter(header), "")])


def mutate_name(rng: random.Random, header: Header, data: bytearray) -> None:
    name = tensor(rng, header)
    if not name:
        return
    key, _, param = name.partition(".")
    at, odd = rng.randrange(len(name) + 1), rng.choice(ODD_TEXTS)
    news = [
        f"{key}.{rng.choice(SUFFIXES)}",
        f"{rng.choice(KEYS)}.{param}",
        f"base_model.model.{name}",
        name.upper(),
        odd,
    ]
    new = rng.choice([*news, name[:at] + odd + name[at:], name[:at], name.replace("_", ".", rng.randrange(4))])
    header[new] = header.pop(name) if rng.random() < 0.7 else header[name]


def mutate_shape(rng: random.Random, header: Header, data: bytearray) -> None:
    entry = header.get(tensor(rng, header))
    if not isinstance(entry, dict) or not isinstance(entry.get("shape"), list):
        return
    shape = list(entry.get("shape") or [])
    change = rng.randrange(5)
    if change == 0 and shape:
        shape[rng.randrange(len(shape))] = rng.choice(ODD_NUMBERS)
    elif change == 1:
        rng.shuffle(shape)
    elif change == 2:
        shape = shape + [1] * rng.randrange(1, 70)
    elif change == 3 and shape and all(type(n) is int for n in shape):
        shape = [torch.Size(shape).numel()] if min(shape) >= 0 and max(shape) < 2**31 else shape
    else:
        shape = rng.choice(ODD_NUMBERS)
    entry["shape"] = shape


def mutate_type(rng: random.Random, header: Header, data: bytearray) -> None:
    entry = header.get(tensor(rng, header))
    if isinstance(entry, dict):
        entry["dtype"] = rng.choice(ODD_TYPES)


def mutate_place(rng: random.Random, header: Header, data: bytearray) -> None:
    entry = header.get(tensor(rng, header))
    if isinstance(entry, dict):
        entry["data_offsets"] = rng.choice(([rng.choice(ODD_NUMBERS), rng.choice(ODD_NUMBERS)], [4], None, [8, 4], {}))


def mutate_entry(rng: random.Random, header: Header, data: bytearray) -> None:
    name = tensor(rng, header)
    entry = header.get(name)
    if isinstance(entry, dict) and entry and rng.random() < 0.5:
        del entry[rng.choice(list(entry))]
    else:
        header[name] = rng.choice((None, 1, "x", [], {}, {"dtype": "F32"}))


def mutate_metadata(rng: random.Random, header: Header, data: bytearray) -> None:
    nested = "[" * rng.choice((3, 5000))
    value = rng.choice(
        (*ODD_NUMBERS, *ODD_TEXTS, nested, '{"r": "x"}', '{"unet.lora_alpha": null}', '{"a": {"b": NaN}}')
    )
    if rng.random() < 0.2:
        header["__metadata__"] = value
    elif isinstance(header.get("__metadata__"), dict):
        header["__metadata__"][rng.choice(METADATA)] = value


def mutate_data(rng: random.Random, header: Header, data: bytearray) -> None:
    if not data:
        return
    change, at = rng.randrange(4), rng.randrange(0, len(data), 4)
    if change == 0:
        data[at : at + 4] = struct.pack("<f", rng.choice((float("nan"), float("inf"), 3e38, 1e-45, 0.0)))
    elif change == 1:
        del data[at:]
    elif change == 2:
        data += bytes(rng.randrange(1, 40))
    else:
        data[:] = bytes(len(data))


def remove(rng: random.Random, header: Header, data: bytearray) -> None:
    header.pop(tensor(rng, header), None)


MUTATIONS: tuple[Callable[[random.Random, Header, bytearray], None], ...] = (
    mutate_name, mutate_shape, mutate_type, mutate_place, mutate_entry, mutate_metadata, mutate_data, remove
)  # fmt: skip


def laid_out(rng: random.Random, header: Header) -> bytearray:
    """Data for whatever the header says, so that the container is sound and its content odd."""
    data = bytearray()
    for entry in header.values():
        if not isinstance(entry, dict) or not {"dtype", "shape"} <= entry.keys():
            continue
        shape = entry["shape"]
        if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 10_000 for n in shape):
            continue
        count = math.prod(shape)
        if count > 100_000:
            continue
        begin, size = len(data), SIZES.get(str(entry["dtype"]), 4)
        data += (
            struct.pack(f"<{count}f", *(rng.gauss(0, 0.1) for _ in range(count))) if size == 4 else bytes(count * size)
        )
        entry["data_offsets"] = [begin, len(data)]
    return data


def written(rng: random.Random, made: Callable[[random.Random], tuple[Header, bytearray]] = sound) -> bytes:
    """A mutated file."""
    header, data = made(rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(MUTATIONS)(rng, header, data)
    if rng.random() < 0.7:
        data = laid_out(rng, header)
    text = json.dumps(header, ensure_ascii=False).encode("utf-8", "surrogatepass")
    length = len(text)
    if rng.random() < 0.1:
        length = rng.choice((0, 1, length - 1, length + 1, 2**40, 2**63, len(data)))
    raw = bytearray(struct.pack("<Q", length % 2**64) + text + data)
    if rng.random() < 0.1 and raw:
        for _ in range(rng.randrange(1, 6)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)


def use(path: Path) -> None:
    """What the program does with a LoRA file."""
    file = read_lora(path)
    kinds_of(file.modules)
    assert all(isinstance(remark, str) for remark in open_lora(path).remarks)
    for params in file.modules.values():
        delta = to_delta(params, torch.ones(8, 8)) if len(params) < 3 else to_delta(params)
        assert delta.shape
    made = merge(f'"{path.stem}":0.5,good:-1', path.parent, rank=1)
    made.save(path.with_name("merged.safetensors"), torch.float32, overwrite=True)
    for program in PROGRAMS:
        convert(file, program).save(path.with_name("for.safetensors"), torch.float32, overwrite=True)


@pytest.mark.parametrize(("made", "count"), [(sound, COUNT), (sound_of_any_kind, COUNT // 2)])
def test_a_mutated_file_is_read_or_refused(tmp_path: Path, made: Callable[..., Any], count: int) -> None:
    rng = random.Random(5)
    header, data = sound(rng)
    text = json.dumps(header).encode()
    (tmp_path / "good.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    use(tmp_path / "good.safetensors")
    used = refused = 0
    for seed in range(count):
        path = tmp_path / "odd.safetensors"
        path.write_bytes(written(random.Random(seed), made))
        try:
            use(path)
            used += 1
        except UserError as error:
            assert error.what and "Traceback" not in str(error)
            refused += 1
        except BaseException as error:
            raise AssertionError(f"mutation {seed}: {error!r}") from error
    assert refused > count / 20 and (used > count / 20 or made is not sound)  # other families do not merge with SD1
