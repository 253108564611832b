"""The container is judged by what its header says: whatever safetensors reads is read, the rest is refused by name."""

from __future__ import annotations

import os
import struct

import pytest
import safetensors.torch
import torch

from lib_lora.adapters import container, read_lora, write_lora
from lib_lora.errors import UserError
from tests.pace import within

KEY = "lora_unet_mid_block_attentions_0_proj_in"
LORA = {f"{KEY}.lora_up.weight": torch.ones(4, 2), f"{KEY}.lora_down.weight": torch.ones(2, 4)}
TWO_FLOATS = '"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


def packed(header: str, data: bytes = bytes(8)) -> bytes:
    text = header.encode()
    return struct.pack("<Q", len(text)) + text + data


def header_of(length: int) -> str:
    """A header of one tensor that is exactly so long, without padding."""
    empty = '{"__metadata__":{"n":""},' + TWO_FLOATS + "}"
    return empty.replace('"n":""', f'"n":"{"x" * (length - len(empty))}"')


@pytest.mark.parametrize("length", [316, 572, 640, 640 + 65536, 828, 0x1F8B, 0x4D42])  # "<", a pickle, gzip, bitmap
def test_a_header_whose_length_looks_like_something_else(tmp_path, length):
    path = tmp_path / "a.safetensors"
    path.write_bytes(packed(header_of(length)))
    assert torch.equal(safetensors.torch.load_file(path)["a"], container.read(path)[1]["a"])


def test_our_own_files_are_read_whatever_their_size(tmp_path):
    path = tmp_path / "a.safetensors"
    shortest = int.from_bytes(write_lora(path, LORA, {"n": ""}).read_bytes()[:8], "little")
    for length in (*range(shortest + 8, shortest + 300, 8), 640 + 65536):
        write_lora(path, LORA, {"n": "x" * (length - shortest)}, overwrite=True)
        assert path.read_bytes()[:8] == struct.pack("<Q", length)
        assert len(read_lora(path).metadata["n"]) == length - shortest
    assert path.read_bytes().startswith(b"\x80\x02")


ODD = {
    "blanks around it": f" {{{TWO_FLOATS}}}\n\t ",
    "no metadata": f'{{"__metadata__":null,{TWO_FLOATS}}}',
    "more than the format knows": '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"note":[1,{}]}}',
    "a name twice": f"{{{TWO_FLOATS},{TWO_FLOATS}}}",
    "empty tensors": f'{{"e":{{"dtype":"F16","shape":[0,5],"data_offsets":[0,0]}},{TWO_FLOATS}}}',
    "an empty tensor at the end": f'{{{TWO_FLOATS},"e":{{"dtype":"F16","shape":[5,0],"data_offsets":[8,8]}}}}',
    "complex numbers": '{"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}',
    "unsigned numbers": '{"a":{"dtype":"U64","shape":[1],"data_offsets":[0,8]}}',
    "float8 of another kind": '{"a":{"dtype":"F8_E4M3FNUZ","shape":[8],"data_offsets":[0,8]}}',
    "a name of many letters": f'{{"{"é" * 5000}":{{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}}}',
}


@pytest.mark.parametrize("header", ODD.values(), ids=ODD.keys())
def test_what_safetensors_reads_is_read(tmp_path, header):
    path = tmp_path / "a.safetensors"
    path.write_bytes(packed(header))
    want, found = safetensors.torch.load_file(path), container.read(path)[1]
    assert want.keys() == found.keys()
    assert all(torch.equal(want[n], found[n]) and want[n].dtype == found[n].dtype for n in want)


BAD = {
    "overlap": f'{{{TWO_FLOATS},"b":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}}',
    "gap": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
    "more than the file has": '{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}',
    "a fraction": '{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}',
    "a negative size": '{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}',
    "a size beyond all bounds": f'{{"c":{{"dtype":"F32","shape":[{10**30},0],"data_offsets":[0,0]}},{TWO_FLOATS}}}',
    "true": '{"a":{"dtype":"U8","shape":[true,8],"data_offsets":[0,8]}}',
    "NaN": '{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}',
    "no type": '{"a":{"shape":[2],"data_offsets":[0,8]}}',
    "a type nobody knows": '{"a":{"dtype":"F7","shape":[2],"data_offsets":[0,8]}}',
    "a type that is a list": '{"a":{"dtype":[],"shape":[2],"data_offsets":[0,8]}}',
    "a text instead of a tensor": '{"a":"b"}',
    "a text of half a character": f'{{"__metadata__":{{"a":"\\ud800"}},{TWO_FLOATS}}}',
    "metadata in a list": f'{{"__metadata__":["a"],{TWO_FLOATS}}}',
    "a number of many digits": f'{{"a":{{"dtype":"F32","shape":[{"9" * 9000}],"data_offsets":[0,8]}}}}',
}


@pytest.mark.parametrize("header", BAD.values(), ids=BAD.keys())
def test_damaged_headers_are_refused(tmp_path, header):
    path = tmp_path / "a.safetensors"
    path.write_bytes(packed(header))
    with pytest.raises(UserError, match="damaged") as error:
        container.read(path)
    assert error.value.where == str(path)


def test_a_type_that_torch_lacks_costs_its_tensor_only(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(packed(f'{{{TWO_FLOATS},"b":{{"dtype":"F4","shape":[16],"data_offsets":[8,16]}}}}', bytes(16)))
    found = container.open_container(path)
    assert found.read(["a"])["a"].tolist() == [0.0, 0.0]
    with pytest.raises(UserError, match="b is stored as F4"):
        found.read()


def test_a_pipe_does_not_block(tmp_path):
    path = tmp_path / "a.safetensors"
    os.mkfifo(path)
    with pytest.raises(UserError, match="not a file"):
        read_lora(path)


def test_metadata_of_fifty_megabytes(tmp_path):
    path, text = tmp_path / "a.safetensors", '{"a tag, (b)": 1},\n' * 2_800_000
    assert len(text) > 50_000_000
    safetensors.torch.save_file(LORA, path, {"ss_tag_frequency": text})
    with within(20):
        file = read_lora(path)
        write_lora(tmp_path / "b.safetensors", file.modules, file.metadata, None)
        assert container.read_metadata(tmp_path / "b.safetensors")["ss_tag_frequency"] == text


def test_metadata_beyond_the_format(tmp_path, monkeypatch):
    monkeypatch.setattr("lib_lora.adapters.serialise.MAX_HEADER", 1000)
    with pytest.raises(UserError, match="metadata are larger"):
        write_lora(tmp_path / "a.safetensors", LORA, {"a": "x" * 1000})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", [b"[],", b'"":1,', b"{},"])
def test_a_header_of_countless_small_things_is_refused_at_once(tmp_path, part):
    path = tmp_path / "a.safetensors"
    text = b'{"a":[' + part * (30_000_000 // len(part)) + b"1]}"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with within(5), pytest.raises(UserError, match=r"too large|damaged"):
        container.read_metadata(path)


def test_a_file_that_changes_while_it_is_read(tmp_path):
    path = write_lora(tmp_path / "a.safetensors", LORA, {})
    found = container.open_container(path)
    write_lora(path, LORA, {"more": "x"}, overwrite=True)
    with pytest.raises(UserError, match="changed while"):
        found.read()
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        found.read()
