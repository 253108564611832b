"""A published folder is whole, says what the file is, and takes nobody's place."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from lib_lora import cli
from lib_lora.adapters.file import model_hash, read_lora, write_lora
from lib_lora.errors import UserError
from lib_lora.files import sha256_file
from lib_lora.part_files import part_name, sweep_parts
from lib_lora.tools import publish as module
from lib_lora.tools.examples import Example, examples_of, prompt_of
from lib_lora.tools.model_card import CardText
from lib_lora.tools.pictures import read_png, save_png
from lib_lora.tools.publish import Publication, publish
from lib_lora.training.config import TrainConfig
from lib_lora.training.run_store import RunStore

PARAMETERS = 'mira, "hat": red <lora:mira-000002:0.8>\nNegative prompt: lowres\nSteps: 20, Seed: 1'
TEXT = CardText("Mira", "mira, |hat|", 0.8, "A doll.\n---\nlicense: mit", "cc-by-4.0", "someone/model")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    image = Image.new("RGB", (64, 96), "teal")
    image.info["parameters"] = PARAMETERS
    return save_png(image, tmp_path / "pictures" / "one.png")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A LoRA of one layer."""
    key = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    layer = {"lora_up.weight": torch.ones(320, 1), "lora_down.weight": torch.ones(1, 768), "alpha": torch.tensor(1.0)}
    path = tmp_path / "data" / "loras" / "mira-000002.safetensors"
    return write_lora(path, {key: layer}, {"ss_base_model_version": "sd_v1"})


def wanted(picture: Path, **options: object) -> Publication:
    return Publication(TEXT, [Example(picture, "chosen")], **options)


def test_a_folder_for_everybody(source: Path, picture: Path, tmp_path: Path) -> None:
    made = publish(source, tmp_path / "out", wanted(picture, sheet=picture))
    names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    assert names == [
        "Mira.json", "Mira.preview.png", "Mira.safetensors", "README.md", "civitai.md", "images/01.png",
        "images/grid.png",
    ]  # fmt: skip
    assert model_hash(made / "Mira.safetensors") == model_hash(source)
    assert read_lora(made / "Mira.safetensors").metadata["ss_output_name"] == "Mira"
    assert json.loads((made / "Mira.json").read_text(encoding="utf-8"))["preferred weight"] == 0.8
    assert "<lora:Mira:0.8>" in read_png(made / "images" / "01.png").info["parameters"]
    head, card = (made / "README.md").read_text(encoding="utf-8").removeprefix("---\n").split("\n---\n", 1)
    about = yaml.safe_load(head)
    assert (about["license"], about["base_model"], about["instance_prompt"]) == (
        "cc-by-4.0",
        "someone/model",
        "mira, |hat|",
    )
    assert about["widget"] == [{
        "text": 'mira, "hat": red', "parameters": {"negative_prompt": "lowres"}, "output": {"url": "images/01.png"},
    }]  # fmt: skip
    assert {"lora", "template:sd-lora", "diffusers"} <= set(about["tags"])
    assert sha256_file(made / "Mira.safetensors") in card and "images/grid.png" in card
    assert "mira, \\|hat\\|" in (made / "civitai.md").read_text(encoding="utf-8")
    assert list((tmp_path / "out").iterdir()) == [made]


def test_a_zip_has_the_same(source: Path, picture: Path, tmp_path: Path) -> None:
    made = publish(source, tmp_path / "out", wanted(picture, zipped=True))
    with zipfile.ZipFile(made) as packed:
        assert packed.testzip() is None and "Mira/images/01.png" in packed.namelist()
    assert list((tmp_path / "out").iterdir()) == [made]


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_is_overwritten_and_nothing_is_half(source, picture, tmp_path, monkeypatch, zipped) -> None:
    out = tmp_path / "out"
    publish(source, out, wanted(picture, zipped=zipped))
    before = sorted(out.rglob("*"))
    with pytest.raises(UserError, match="of this name already"):
        publish(source, out, wanted(picture, zipped=zipped))

    def fails(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "civitai", fails)
    other = Publication(CardText("Other"), [Example(picture, "chosen")], zipped=zipped)
    with pytest.raises(UserError, match="disk is full"):
        publish(source, out, other)
    assert sorted(out.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (CardText("a/b"), "Name"),
        (CardText("a", licence="mine"), "Licence"),
        (CardText("a", weight=float("nan")), "Use at weight"),
        (CardText("a", base="https://x/y/z"), "Base model"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(source: Path, tmp_path: Path, text: CardText, where: str) -> None:
    with pytest.raises(UserError) as caught:
        publish(source, tmp_path / "out", Publication(text))
    assert caught.value.where == where and not (tmp_path / "out").exists()


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    machine, pid, _, rest = part_name().removeprefix(".").split("-")
    left, mine = tmp_path / f".{machine}-{pid}-00000000-{rest}", tmp_path / part_name()
    for folder in (left, mine):
        (folder / "images").mkdir(parents=True)
    assert sweep_parts([tmp_path]) == [left] and mine.exists() and not left.exists()


def test_examples_are_those_of_the_files_own_epoch(source: Path, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    run = store.create(TrainConfig(name="mira"))
    for name in ("e000001_s1_00", "e000002_s2_00", "e000002_s2_01"):
        save_png(Image.new("RGB", (8, 8)), run.samples / f"{name}.png")
    of_run = {"ss_session_id": str(run.record.session_id), "ss_epoch": "2"}
    renamed = write_lora(source.with_name("final.safetensors"), read_lora(source).modules, of_run)
    found = examples_of(renamed, store)
    assert found.run == run and found.usual == 2
    assert [one.path.stem for one in found.pictures] == ["e000002_s2_00", "e000002_s2_01", "e000001_s1_00"]
    assert examples_of(source, store).pictures == ()


def test_prompts_are_read_out_of_parameters() -> None:
    assert prompt_of(PARAMETERS) == 'mira, "hat": red'
    assert prompt_of("a\nb\nSteps: 2") == "a b" and prompt_of("Steps: 2") == "" and prompt_of("") == ""


def test_on_the_command_line(source: Path, picture: Path, tmp_path: Path, capsys) -> None:
    data = source.parent.parent
    assert cli.main(["inspect", "mira-000002", "--json", "--data", str(data)]) == 0
    assert json.loads(capsys.readouterr().out)["strengths"]["blocks"][0]["block"] == "IN01"
    assert cli.main(["inspect", str(source), "--data", str(data)]) == 0
    assert "IN01" in capsys.readouterr().out
    words = ["publish", "mira-000002", "--as", "mira", "--picture", str(picture), "--data", str(data)]
    assert cli.main(words) == 0 and capsys.readouterr().out.strip() == str(data / "published" / "mira")
    assert cli.main(words) == 2 and "of this name already" in capsys.readouterr().err
