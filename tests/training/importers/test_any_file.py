"""Any file is a result or a UserError, what it gives is usable, and a bad key costs nothing but itself."""

from __future__ import annotations

import copy
import random
from collections import Counter
from pathlib import Path

import pytest

from lib_lora.errors import UserError
from lib_lora.training.config import settings
from lib_lora.training.config_groups.setting import check_value
from lib_lora.training.importers import FORMATS, format_of, import_config
from lib_lora.training.importers.document import parsed
from lib_lora.training.importers.report import Imported
from tests.rounds import rounds
from tests.training.importers.odd_files import (
    CERTAIN,
    UNREADABLE,
    as_json,
    as_toml,
    as_yaml,
    built,
    documents,
    take_out,
)

HERE = Path("config")


def read(text: str, name: Path = HERE) -> Imported:
    document = parsed(text, name)
    kind = format_of(document.content)
    if kind is None:
        raise UserError("not recognised")
    return FORMATS[kind].read(document.content)


def assert_usable(found: Imported) -> None:
    known = settings()
    for name, value in found.values.items():
        if name not in ("name", "data_dir"):
            check_value(known[name], value)


@pytest.mark.parametrize(
    ("writer", "count", "name"), [(as_json, 2_000, HERE), (as_toml, 1_500, HERE), (as_yaml, 250, Path("c.yaml"))]
)
def test_a_result_or_a_user_error(writer, count, name):
    count, draw = rounds(count), random.Random(1)
    outcomes: Counter[str] = Counter()
    for _, entries in documents(count, seed=2):
        text = writer(built(entries), draw)
        try:
            found = read(text, name)
        except UserError as error:
            assert str(error)
            outcomes["refused"] += 1
        else:
            assert_usable(found)
            outcomes["read"] += 1
    assert outcomes["read"] > count / 3


def test_a_key_that_cannot_be_read_is_as_if_it_were_not_there():
    draw = random.Random(3)
    compared = 0
    for name, entries in documents(rounds(1_500), seed=4):
        entries = list({place[-1]: (place, value) for place, value in entries}.values())  # each key once
        known_by = [place for place, _ in CERTAIN[name]]
        place = draw.choice([place for place, _ in entries if place not in known_by] or known_by)
        if place in known_by:
            continue
        spoilt = built([*entries, (place, UNREADABLE)])
        good = copy.deepcopy(spoilt)
        take_out(good, place)
        kind = format_of(good)
        if kind is None or format_of(spoilt) != kind:
            continue

        compared += 1
        assert FORMATS[kind].read(spoilt).values == FORMATS[kind].read(good).values, (name, place)
    assert compared > rounds(1_000)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"\n# a remark\n", b"[1, 2]", b"null", b'"kohya"', b"a: 1\nb: 2\n", b"[project]\nname = 'x'\n",
        b'{"dependencies": {"a": "1"}, "name": "x", "version": "1"}',
        b"compute_environment: LOCAL_MACHINE\nmixed_precision: fp16\nnum_processes: 1\nnum_machines: 1\n",
        b"distributed_type: 'NO'\nmixed_precision: 'no'\nmain_process_port: null\ndynamo_backend: 'NO'\ngpu_ids: all\n",
        b'{"mixed_precision": "fp16", "num_processes": 1}', b'{"sd_model_checkpoint": "a", "samples_save": true}',
        b'{"_class_name": "DDIMScheduler", "beta_start": 0.1, "prediction_type": "epsilon"}', b"\x00" * 100,
        b"PK\x03\x04",
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"a = " + b"[" * 5_000 + b"]" * 5_000, b"- a\n- b\n",
        b'{"learning_rate": 1e-4, "model": "bert", "warmup": 5, "dataset": "x"}', b"\xff\xfe", b"\xef\xbb\xbf", b"{",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["c.toml", "c.json", "c.yaml"])
def test_what_is_no_config_is_refused(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as refused:
        import_config(tmp_path / name)
    assert refused.value.where and refused.value.fix


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("text", ['network_dim = 8\noutput_name = "Zoë"\n', '{"network_dim": 8, "output_name": "Zoë"}'])
def test_every_encoding(tmp_path, encoding, text):
    (tmp_path / "c").write_bytes(text.encode(encoding))
    values = import_config(tmp_path / "c").values
    assert values["rank"] == 8 and values["name"] == "Zoë"


def test_no_file_is_waited_for(tmp_path):
    with pytest.raises(UserError, match="no such config"):
        import_config(tmp_path)
    with pytest.raises(UserError, match="no such config"):
        import_config("a\0b")
