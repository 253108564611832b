"""A report names everything that took part, and no folder of the user's."""

from __future__ import annotations

import pytest

from lib_lora.report import report, without_paths


def test_it_has_versions_facts_and_the_whole_traceback() -> None:
    try:
        try:
            open("/home/anna/My pictures/mira 1.png").close()
        except OSError as error:
            raise ValueError("no set") from error
    except ValueError as error:
        text = report(error, {"web UI": "forge f2.0", "settings": "rank = 4\ndata_dir = 'C:\\Users\\anna\\set'"})
    assert "torch " in text and "forge f2.0" in text and "rank = 4" in text
    assert "ValueError: no set" in text and "FileNotFoundError" in text and "test_it_has_versions" in text
    assert "anna" not in text and "mira" not in text and "pictures" not in text


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ('File "/home/anna/webui/extensions/x/lib_lora/jobs/queue.py", line 3, in f', "lib_lora/jobs/queue.py"),
        (r'File "C:\Users\Anna B\venv\Lib\site-packages\torch\nn\x.py", line 3', "site-packages/torch/nn/x.py"),
        ('File "/srv/anna/stable-diffusion-webui/modules/call_queue.py", line 57', "modules/call_queue.py"),
        ("cannot read /home/anna/set/mira.png", "….png"),
        (r"cannot read '\\nas\anna\set one\mira.safetensors'", "….safetensors'"),
        ("~/anna/set", "…"),
        ("3/4 of 1e-3, ratio 0.5, http-free text, a/b", "3/4 of 1e-3, ratio 0.5, http-free text, a/b"),
        ("expected [2, 4, 8] but got torch.Size([1, 4]) and <lora:x:1>", "<lora:x:1>"),
    ],
)
def test_of_paths_remains_what_belongs_to_programs(line: str, kept: str) -> None:
    cut = without_paths(line)
    assert kept in cut and "anna" not in cut.lower()
