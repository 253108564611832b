"""What is put into a web UI's folder is the same model, complete, with nothing left to download."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import yaml
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from lib_lora import cli
from lib_lora.errors import UserError
from lib_lora.hosts.standalone.checkpoint import load_checkpoint, read_tensors
from lib_lora.hosts.standalone.tokenizer import clip_tokenizer
from lib_lora.hosts.standalone.tokens import FULL_VOCAB, TOKEN_IDS_KEY

CAPTION = "1girl, (red hat), ünïcode"


@pytest.fixture
def exported(tiny_checkpoint, tmp_path, capsys):
    models = tmp_path / "webui" / "models" / "Stable-diffusion"
    models.mkdir(parents=True)
    arguments = ["demo", "export", "--webui", str(tmp_path / "webui"), "--checkpoint", str(tiny_checkpoint)]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out.strip() == str(models / "tiny.safetensors")
    return models / "tiny.safetensors"


def test_the_model_is_the_same_with_all_rows_of_its_embedding(exported, tiny_checkpoint):
    tensors = read_tensors(exported)
    assert TOKEN_IDS_KEY not in tensors
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    ours, theirs = load_checkpoint(tiny_checkpoint), load_checkpoint(exported)
    with torch.no_grad():
        torch.testing.assert_close(theirs.encode_text([CAPTION]), ours.encode_text([CAPTION]), rtol=1e-2, atol=1e-2)


def test_it_is_exported_where_there_is_no_diffusers(tiny_checkpoint, tmp_path):
    (tmp_path / "models" / "Stable-diffusion").mkdir(parents=True)
    arguments = ["demo", "export", "--webui", str(tmp_path), "--checkpoint", str(tiny_checkpoint)]
    program = f"import sys; sys.modules['diffusers'] = None; from lib_lora import cli; sys.exit(cli.main({arguments}))"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (tmp_path / "models" / "Stable-diffusion" / "tiny.yaml").is_file()


def test_the_yaml_leads_to_a_text_encoder_that_fits(exported):
    text = yaml.safe_load(exported.with_suffix(".yaml").read_text(encoding="utf-8"))["model"]["params"]
    stage = text["cond_stage_config"]
    folder = stage["params"]["version"]
    encoder = CLIPTextModel(CLIPTextConfig.from_pretrained(folder, local_files_only=True))
    wanted = read_tensors(exported)
    rows = wanted["cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"].shape
    assert encoder.get_input_embeddings().weight.shape == rows == (FULL_VOCAB, 32)
    tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    assert tokenizer(CAPTION)["input_ids"] == clip_tokenizer()(CAPTION)["input_ids"]


def test_a_second_export_replaces_the_first(exported, tiny_checkpoint, tmp_path):
    before = read_tensors(exported)
    assert cli.main(["demo", "export", "--webui", str(tmp_path / "webui"), "--checkpoint", str(tiny_checkpoint)]) == 0
    after = read_tensors(exported)  # the order of a header's metadata is not fixed, so bytes may differ
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert len(list(exported.parent.iterdir())) == 3


def test_another_folder_is_refused(tiny_checkpoint, tmp_path):
    from lib_lora.demo.web_ui import export

    with pytest.raises(UserError, match="not a web UI"):
        export(tiny_checkpoint, tmp_path)
