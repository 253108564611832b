"""What the page costs a web UI's start: which modules it imports beyond those that the web UI has anyway."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST = 420  # of our own, about a millisecond each once their bytecode is there
LATER = ("bench", "diffusers", "lib_lora.demo.judge", "lib_lora.demo.tour", "lib_lora.demo.world",
         "lib_lora.hosts.standalone", "onnxruntime", "pytorch_optimizer", "tensorboard")  # fmt: skip
PROGRAM = """
import sys
import gradio, torch, PIL.Image, numpy, safetensors.torch, transformers, fastapi, pandas
before = set(sys.modules)
import lib_lora.ui.app
print("\\n".join(set(sys.modules) - before))
"""


def test_the_page_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = done.stdout.split()
    ours = [name for name in found if name.partition(".")[0] == "lib_lora"]
    others = {name.partition(".")[0] for name in found} - {"lib_lora"} - set(sys.stdlib_module_names)
    assert others <= {"PIL"}  # modules that the web UI's own pictures need too
    assert not [name for name in found if name.startswith(LATER)]
    assert 300 < len(ours) <= MOST
