"""Starting the double: a web UI's folder with one checkpoint."""

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace


def needed_by_ldm():
    """ldm's U-Net only asks whether context_dim is one of omegaconf's lists."""
    return {"omegaconf": SimpleNamespace(), "omegaconf.listconfig": SimpleNamespace(ListConfig=())}


def start(checkpoint: Path, data: Path):
    """The host of a web UI that lists ``checkpoint`` and has loaded nothing yet."""
    sys.modules.update(needed_by_ldm())
    import modules.paths
    import modules.sd_hijack
    import modules.sd_models
    import modules.shared
    from ldm.modules.diffusionmodules import openaimodel

    openaimodel.th = modules.sd_hijack.TorchForUNet()
    (data / "models" / "Lora").mkdir(parents=True)
    modules.paths.data_path, modules.paths.models_path = str(data), str(data / "models")
    modules.shared.cmd_opts.lora_dir = str(data / "models" / "Lora")
    modules.shared.cmd_opts.ckpt_dir = str(checkpoint.parent)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    modules.sd_models.CheckpointInfo(checkpoint, digest).register()

    from lib_lora.hosts.detect import web_ui_host

    return web_ui_host()
