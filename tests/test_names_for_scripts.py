"""What scripts of others import and read stays where it was, or there is a way from there."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from lib_lora.jobs.views import FolderView

NAMES = {
    "lib_lora.adapters.blocks": "layout_for load_presets BlockWeights",
    "lib_lora.adapters.build": "adapter_from",
    "lib_lora.adapters.file": "read_lora to_delta write_lora",
    "lib_lora.adapters.network": "Network",
    "lib_lora.dataset.check": "check",
    "lib_lora.dataset.config": "DatasetConfig Concept",
    "lib_lora.dataset.duplicates.groups": "find_duplicates SearchOptions",
    "lib_lora.dataset.editor": "DatasetEditor",
    "lib_lora.dataset.images": "load_rgb",
    "lib_lora.dataset.scan": "scan",
    "lib_lora.dataset.tags.edits": "Add Sort deduplicate Normalise Replace",
    "lib_lora.demo": "CHECKPOINT",
    "lib_lora.errors": "UserError",
    "lib_lora.hosts.standalone.host": "StandaloneHost",
    "lib_lora.models.base": "HostPaths GenerationRequest",
    "lib_lora.tools.blocks": "bake",
    "lib_lora.tools.grid_spec": "search_replace",
    "lib_lora.tools.lora_files": "new_lora_path list_loras find_lora",
    "lib_lora.tools.merge": "merge resize report",
    "lib_lora.tools.prompt_edits": "with_epoch with_weight with_blocks",
    "lib_lora.tools.prompt_loras": "split_prompt",
    "lib_lora.training.config": "TrainConfig",
    "lib_lora.training.importers": "import_config",
    "lib_lora.training.sample_prompts": "parse_sample_prompts",
    "lib_lora.workbench": "Workbench LoraEntry EpochFile",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_are_there(module: str) -> None:
    found = import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


def test_a_job_can_be_read_by_name() -> None:
    view = FolderView(1, "k", "t", "done", 1, 1, "", 0.0, None, None, "", Path("x"))
    assert view.data["folder"] == Path("x") and view.data["state"] == "done"
