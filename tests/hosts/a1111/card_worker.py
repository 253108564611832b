"""A process with a graphics card of tests/card.py, and on it a web UI of A1111's kind with ``--medvram``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from lib_lora.training.events import StepDone
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from tests.card import CARD, insert
from tests.hosts.a1111.conftest import DOUBLE, OUR_HOSTS, OWN
from tests.hosts.common import forget
from tests.training.worlds import image_folder, small_config


def train(
    root: Path, checkpoint: Path, on_card: bool, te_lr: float, option: str = "medvram"
) -> tuple[list[dict[str, str]], Path]:
    """An epoch of three steps: where each part of the model was after each, and the file."""
    insert()
    torch.set_num_threads(1)
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # the card's double cannot move a tensor's data
    forget(OWN, OUR_HOSTS)
    if str(DOUBLE) not in sys.path:
        sys.path.insert(0, str(DOUBLE))
    import starting
    from modules import devices, shared

    devices.device = CARD if on_card else devices.cpu
    setattr(shared.cmd_opts, option, True)
    host = starting.start(checkpoint, root / "webui")
    config = small_config(image_folder(root / "set"), epochs=1, te_lr=te_lr, optimizer="AdamW")
    places = []
    with host.training_session() as model:
        run = Trainer(RunStore(host.paths.runs).create(config), model, host.paths).run()
        done = False
        while not done:
            with host.gpu_lock:  # as the queue does, slice by slice
                event = next(run, None)
            done = event is None
            if isinstance(event, StepDone):
                places.append({name: next(part.parameters()).device.type for name, part in model.movable.items()})
    return places, host.paths.loras / "mira.safetensors"
