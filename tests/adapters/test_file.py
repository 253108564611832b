"""LoRA files: identity, hashes, refusal to overwrite, and named errors for whatever else a file may be."""

from __future__ import annotations

import hashlib
import io
import random
import struct

import pytest
import safetensors.torch
import torch

from lib_lora.adapters import LoraFile, Network, NetworkSpec, metadata, model_hash, read_lora, read_metadata, write_lora
from lib_lora.adapters.algorithms.lora import LoRA
from lib_lora.adapters.delta import Delta
from lib_lora.adapters.file import join_keys, split_keys
from lib_lora.adapters.layers import Layers
from lib_lora.adapters.rounding import rounding_loss
from lib_lora.errors import UserError
from tests.rounds import rounds

KEY = "lora_unet_mid_block_attentions_0_proj_in"


FUZZED = [
    *(NetworkSpec("lora", 2, 1.0, dora=dora) for dora in (False, True)),
    *(NetworkSpec(name, 2, 1.0) for name in ("loha", "lokr", "full", "ia3", "glora", "oft", "boft")),
]


def one_layer(**changes) -> dict[str, dict[str, torch.Tensor]]:
    g = torch.Generator().manual_seed(0)
    params = {
        "lora_up.weight": torch.randn(6, 2, generator=g),
        "lora_down.weight": torch.randn(2, 5, generator=g),
        "alpha": torch.tensor(1.3),
    }
    return {KEY: {**params, **changes}}


@pytest.fixture
def modules(layers):
    return Network.create(layers, NetworkSpec(rank=3, conv_rank=2, alpha=0.7), 0).modules()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, None])
def test_round_trip(tmp_path, modules, dtype):
    path = write_lora(tmp_path / "dir" / "a.safetensors", modules, {"ss_x": "é", "n": 3}, dtype)
    file = read_lora(path)
    assert (file.path, file.name) == (path, "a")
    assert file.metadata["ss_x"] == "é"
    assert read_metadata(path) == file.metadata
    assert file.metadata["n"] == "3"
    got, want = join_keys(file.modules), join_keys(modules)
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        stored = tensor if name.endswith("alpha") else tensor.to(dtype or tensor.dtype)
        assert torch.equal(got[name], stored), name
        assert got[name].dtype == stored.dtype
    assert list(path.parent.iterdir()) == [path]
    assert write_lora(tmp_path / "b.safetensors", file.modules, file.metadata, None).read_bytes() == path.read_bytes()


def test_flat_and_nested_names_are_one_file(tmp_path, modules):
    a = write_lora(tmp_path / "a.safetensors", modules, {"ss_b": "2", "ss_a": "1"})
    b = write_lora(tmp_path / "b.safetensors", dict(reversed(join_keys(modules).items())), {"ss_a": "1", "ss_b": "2"})
    assert a.read_bytes() == b.read_bytes()
    assert split_keys(join_keys(modules)) == modules


def test_hashes_are_kohyas(tmp_path):
    big = one_layer(**{"lora_up.weight": torch.randn(60_000, 8), "lora_down.weight": torch.randn(8, 5)})
    path = write_lora(tmp_path / "a.safetensors", big, {"ss_seed": "1", "modelspec.title": "t"}, torch.float32)
    # As kohya's trainer computes them: on the file saved with its ss_* metadata only
    tensors = safetensors.torch.load_file(path)
    plain = safetensors.torch.save(tensors, {"ss_seed": "1"})
    header = struct.unpack("<Q", plain[:8])[0]
    metadata = read_metadata(path)
    assert metadata["sshs_model_hash"] == hashlib.sha256(plain[8 + header :]).hexdigest() == model_hash(path)
    assert metadata["sshs_legacy_hash"] == hashlib.sha256(plain[0x100000:0x110000]).hexdigest()[:8]


def test_the_hash_ignores_metadata_and_follows_the_cast(tmp_path, modules):
    a = write_lora(tmp_path / "a.safetensors", modules, {})
    b = write_lora(tmp_path / "b.safetensors", modules, {"ss_x": "y"})
    c = write_lora(tmp_path / "c.safetensors", modules, {}, torch.float32)
    assert model_hash(a) == model_hash(b) != model_hash(c)


@pytest.mark.parametrize("kind", ["as usual", "other order", "several types", "extras", "alpha unknown"])
def test_the_hash_is_that_of_the_file_in_whatever_order_it_is_written(tmp_path, monkeypatch, kind):
    """While it is written in its own order the data are hashed on the way; else they are read again."""
    numbers = {KEY: 6.0, "lora_unet_a": 3.0, "lora_unet_zz": 1.0}
    layers = {key: {**one_layer()[KEY], "alpha": torch.tensor(alpha)} for key, alpha in numbers.items()}
    read_again, dtype, extras, again = [], torch.float16, {}, False
    if kind == "other order":
        layers = dict(reversed(layers.items()))
    elif kind == "several types":
        layers["lora_unet_zz"]["lora_up.weight"] = layers["lora_unet_zz"]["lora_up.weight"].double()
        dtype, again = None, True
    elif kind == "extras":
        extras, again = {"string_to_param": torch.randn(2, 5)}, True
    elif kind == "alpha unknown":
        shapes = {key: {**params, "alpha": torch.tensor(7.0)} for key, params in layers.items()}
        layers, again = Layers(shapes, layers.__getitem__), True
    hashes = metadata.hashes

    def seen(file, start, head, data_hash=None):
        read_again.append(data_hash is None)
        return hashes(file, start, head, data_hash)

    monkeypatch.setattr(metadata, "hashes", seen)
    path = write_lora(tmp_path / "a.safetensors", layers, {}, dtype, extras=extras)
    assert read_metadata(path)["sshs_model_hash"] == model_hash(path)
    assert read_again == [again]
    stored = safetensors.torch.load_file(path)
    assert {key: stored[f"{key}.alpha"].item() for key in numbers} == numbers


def test_nothing_is_overwritten_unasked(tmp_path, modules):
    path = write_lora(tmp_path / "a.safetensors", modules, {})
    before = path.read_bytes()
    with pytest.raises(UserError, match="exists already"):
        write_lora(path, one_layer(), {})
    assert path.read_bytes() == before
    write_lora(path, one_layer(), {}, overwrite=True)
    assert list(read_lora(path).modules) == [KEY]


def test_values_that_do_not_fit_are_refused(tmp_path):
    modules = one_layer(**{"lora_up.weight": torch.full((6, 2), 1e6)})
    with pytest.raises(UserError, match="float16 cannot store"):
        write_lora(tmp_path / "a.safetensors", modules, {})
    assert not any(tmp_path.iterdir())
    assert write_lora(tmp_path / "a.safetensors", modules, {}, torch.bfloat16).exists()


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_no_loss_by_rounding_is_told_as_smaller_than_it_is(size, dtype):
    """Down to numbers that half precision hardly has; also where most of the product cancels."""
    g = torch.Generator().manual_seed(0)
    up, down = torch.randn(90, 6, generator=g) * size, torch.randn(6, 70, generator=g)
    opposed = torch.cat([up, -up + 0.01 * size * torch.randn(90, 6, generator=g)], dim=1), torch.cat([down, down])
    for u, d in ((up, down), opposed):
        exact, stored = u.double() @ d.double(), u.to(dtype).double() @ d.to(dtype).double()
        true = ((exact - stored).norm() / exact.norm()).item()
        told = rounding_loss({"lora_up.weight": u, "lora_down.weight": d, "alpha": torch.tensor(6.0)}, dtype)
        assert told >= 0.9 * true if true > 1e-3 else told <= 1e-3


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_the_loss_of_a_truncated_layer_is_told_from_its_singular_values_as_from_its_numbers(size, dtype):
    g = torch.Generator().manual_seed(1)
    delta = Delta(torch.Size((90, 70)), torch.randn(90, 12, generator=g) * size, torch.randn(12, 70, generator=g))
    cut, values = delta.with_spectrum(5)
    params = LoRA.tensors_of(cut, even=True)
    known, calculated = rounding_loss(params, dtype, values), rounding_loss(params, dtype)
    assert known == pytest.approx(calculated, rel=0.3) if calculated > 1e-3 else known <= 1e-3


def test_rounding_loss():
    assert rounding_loss(one_layer()[KEY], torch.float32) < 1e-12
    assert 1e-5 < rounding_loss(one_layer()[KEY], torch.float16) < 1e-3
    assert 1e-4 < rounding_loss(one_layer()[KEY], torch.bfloat16) < 1e-2
    assert rounding_loss(one_layer(**{"lora_up.weight": torch.full((6, 2), 1e6)})[KEY], torch.float16) == float("inf")
    lost = rounding_loss(one_layer(**{"lora_up.weight": torch.full((6, 2), 1e-9)})[KEY], torch.float16)
    assert lost == pytest.approx(1, abs=1e-6)
    assert rounding_loss(one_layer(**{"lora_up.weight": torch.zeros(6, 2)})[KEY], torch.float16) == 0.0


def test_a_file_without_a_path_is_unsaved():
    assert LoraFile(None).name == "unsaved"


def save(path, tensors) -> None:
    safetensors.torch.save_file(tensors, path)


def flat(**changes) -> dict[str, torch.Tensor]:
    return join_keys(one_layer(**changes))


def pickled() -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, buffer)
    return buffer.getvalue()


BAD_BYTES = {
    "empty": (b"", "is empty"),
    "short": (b"\x08\x00\x00", "cut off"),
    "html": (b"<!DOCTYPE html><html>login</html>", "web page"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
    "pickle": (pickled(), "pickle"),
    "old pickle": (b"\x80\x02}q\x00.", "pickle"),
    "oversized header": (struct.pack("<Q", 1 << 60) + b"{}", "cut off"),
    "not json": (struct.pack("<Q", 8) + b"notjson!", "header is not readable"),
    "not utf-8": (struct.pack("<Q", 4) + b"\xff\xfe\xff\xfe", "header is not readable"),
    "deep": (struct.pack("<Q", 100_000) + b"[" * 100_000, "header is not readable"),
    "a list": (struct.pack("<Q", 2) + b"[]", "header is not a table"),
    "odd metadata": (struct.pack("<Q", 18) + b'{"__metadata__":7}', "metadata is not a table"),
    "no tensors": (struct.pack("<Q", 2) + b"{}", "no LoRA"),
}


@pytest.mark.parametrize(("data", "complaint"), BAD_BYTES.values(), ids=BAD_BYTES.keys())
def test_foreign_files_are_named(tmp_path, data, complaint):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(UserError, match=complaint) as error:
        read_lora(path)
    assert error.value.where == str(path)
    assert error.value.fix


@pytest.mark.parametrize(
    ("tensors", "complaint"),
    [
        (flat(**{"lora_up.weight": torch.full((6, 2), float("nan"))}), f"{KEY}.lora_up.weight holds NaN"),
        (flat(alpha=torch.tensor(float("inf"))), "alpha holds NaN or infinite"),
        (flat(**{"lora_down.weight": torch.zeros(2, 5, dtype=torch.int8)}), "int8"),
        (flat(**{"lora_down.weight": torch.zeros(3, 5)}), f"do not fit together \\(layer {KEY}\\)"),
        ({f"{KEY}.hada_w1_a": torch.zeros(2, 2)}, "hada_w1_b and hada_w2_a and hada_w2_b is missing"),
        ({"unet.mid_block.attentions.0.proj_in.lora_A.weight": torch.zeros(2, 2)}, "lora_up.weight is missing"),
        ({"cond_stage_model.x": torch.zeros(2), "model.diffusion_model.out.0.bias": torch.zeros(2)}, "checkpoint"),
        ({"emb_params": torch.zeros(2)}, "a textual inversion"),
        ({f"{KEY}.odd": torch.zeros(2)}, "Unknown adapter parameters"),
    ],
)
def test_tensors_that_are_no_lora(tmp_path, tensors, complaint):
    path = tmp_path / "bad.safetensors"
    save(path, tensors)
    with pytest.raises(UserError, match=complaint) as error:
        read_lora(path)
    assert error.value.where == str(path)


def test_missing_files(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(UserError) as error:
            read_lora(path)
        assert error.value.where == str(path)


def test_files_from_other_trainers(tmp_path):
    path = tmp_path / "old.safetensors"
    save(path, {k: v.half() for k, v in flat().items()})
    file = read_lora(path)
    assert file.metadata == {}
    assert file.modules[KEY]["alpha"].dtype == torch.float16


@pytest.mark.parametrize("spec", FUZZED, ids=lambda spec: f"{spec.algorithm}{' dora' * spec.dora}")
def test_mutated_files_are_read_or_refused_by_name(tmp_path, spec):
    network = Network.create({KEY: torch.nn.Linear(6, 8)}, spec, 0)
    modules = {**network.modules(), "bundle_emb.x.string_to_param.*": torch.ones(2)}
    good = write_lora(tmp_path / "good.safetensors", modules, {"ss_x": "1"}, torch.float32).read_bytes()
    path = tmp_path / "bad.safetensors"
    rng = random.Random(0)
    refused = 0
    for _ in range(rounds(250)):
        path.write_bytes(mutated(good, rng))
        try:
            file = read_lora(path)
        except UserError as error:
            assert error.where == str(path)
            refused += 1
        else:
            assert all(torch.isfinite(t).all() for t in join_keys(file.modules).values())
    assert refused > 100
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.safetensors", "good.safetensors"]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """``data`` cut, extended, or with some bytes changed, mostly in the header."""
    kind = rng.randrange(4)
    if kind == 0:
        return data[: rng.randrange(len(data))]
    if kind == 1:
        at = rng.randrange(len(data))
        return data[:at] + rng.randbytes(rng.randrange(1, 20)) + data[at:]
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        end = len(data) if kind == 2 else 8 + int.from_bytes(data[:8], "little")
        changed[rng.randrange(end)] = rng.choice([rng.randrange(256), *b'0123456789[]{}",:'])
    return bytes(changed)
