"""What we add to the web UI's own pages: axes of the X/Y/Z plot, and a section of the Settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lib_lora.errors import UserError


@dataclass
class AxisOption:
    """The plot's own class, as far as an extension meets it."""

    label: str
    type: type
    apply: Any
    choices: Any = None


@pytest.fixture
def axes(webui, lora, monkeypatch: pytest.MonkeyPatch) -> dict[str, AxisOption]:
    """Our axes by label, in a plot that had one of its own."""
    from modules import scripts

    from lib_lora.hosts.webui.xyz_axes import add_axes

    plot = SimpleNamespace(AxisOption=AxisOption, axis_options=[AxisOption("Seed", int, None)])
    monkeypatch.setattr(scripts, "scripts_data", [SimpleNamespace(path="scripts/xyz_grid.py", module=plot)])
    hat = webui.host.paths.loras / "hat.safetensors"
    for end in ("000002", "000010"):
        hat.with_name(f"hat-{end}.safetensors").write_bytes(hat.read_bytes())
    for _ in range(2):  # a second time changes nothing
        add_axes(webui.host.paths.data / "block_presets.txt")
    assert len(plot.axis_options) == 4
    return {option.label: option for option in plot.axis_options}


def varied(axis: AxisOption, prompt: str, value: Any) -> str:
    p = SimpleNamespace(prompt=prompt)
    axis.apply(p, axis.type(value), [value])
    return p.prompt


def test_axes_change_the_prompts_loras(axes: dict[str, AxisOption]) -> None:
    epoch, weight, blocks = (axes[f"[LoRA Workbench] {name}"] for name in ("Epoch", "Weight", "Block weights"))
    assert epoch.choices() == ["2", "10", "last"] and "OUTS" in blocks.choices()
    assert varied(epoch, "1girl <lora:hat:1>", 10) == "1girl <lora:hat-000010:1>"
    assert varied(weight, "1girl <lora:hat:1>", "0.5") == "1girl <lora:hat:0.5>"
    assert varied(blocks, "1girl <lora:hat:1>", "OUTS") == "1girl <lora:hat:1:lbw=OUTS>"
    with pytest.raises(UserError, match="epoch 3"):
        varied(epoch, "1girl <lora:hat:1>", 3)


def test_settings_say_where_files_go_and_whether_tags_are_read(webui, tmp_path: Path, monkeypatch) -> None:
    from modules import shared

    from lib_lora.hosts.detect import web_ui_host
    from lib_lora.hosts.webui.settings import FOLDER, TAGS, add_settings

    monkeypatch.setattr(shared, "DEFAULTS", dict(shared.DEFAULTS))
    shown: list[str] = []
    monkeypatch.setattr(shared.OptionInfo, "info", lambda option, text: shown.append(text) or option)
    add_settings()
    assert any("&lt;lora:" in text for text in shown) and not any("<" in text for text in shown)  # it is HTML
    assert shared.opts.lora_workbench_folder == "" and web_ui_host().paths.data == webui.data / "lora_workbench"
    shared.opts.data.update({FOLDER: str(tmp_path / "mine"), TAGS: False})
    host = web_ui_host()
    assert host.paths.runs == tmp_path / "mine" / "runs"
    assert not host.prompt_weights().are_wanted()
