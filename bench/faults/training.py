"""What a training writes, from its first state to its last file: cut off anywhere, gone on with, and damaged before.

The network is a toy's and its gradients are made up; every write is the real one, in the order of
:func:`lib_lora.training.trainer.after_step`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import torch
from safetensors.torch import save

from bench.faults.campaign import HALF, LEFT, LOST, Campaign, Files
from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import NetworkSpec
from lib_lora.file_sets import finish_and_sweep
from lib_lora.training import keeper, state
from lib_lora.training.averaging import Averaging
from lib_lora.training.backups import back_up, go_back
from lib_lora.training.checkpoints import Checkpoints
from lib_lora.training.config import TrainConfig
from lib_lora.training.meter import Meter
from lib_lora.training.optim import build_optimizer
from lib_lora.training.requests import SAVE, Requests
from lib_lora.training.run import Run
from lib_lora.training.run_store import RunStore
from lib_lora.training.session import Session
from lib_lora.training.state import Fingerprint, StateSlots
from lib_lora.training.trainer import after_step

EPOCH, TOTAL = 2, 6  # steps
SAVED_AT = 3  # the step after which somebody asks for a file
HERE = Fingerprint("config", "data", "model")
EVENTS = "events.out.tfevents.1.lora-workbench"  # has times in it
DAMAGED = ("state/a.safetensors", "epochs.json", "metrics.jsonl", "chosen.json", "run.json", "config.toml")
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
}


def campaigns() -> list[Campaign]:
    """A training of which an epoch is done, to its end."""
    return [
        Campaign("training: cut off", _first_epoch, _train, sweep, _progress, (EVENTS,)),
        Campaign("training: resume", _first_epoch, _train, again(_train), undisturbed, (EVENTS,)),
        Campaign("training: save now", _first_epoch, _train_and_save, again(_train_and_save), undisturbed, (EVENTS,)),
        Campaign("training: go back", _backed_up, _back, again(_back), _gone_back, (EVENTS,)),
        Campaign("training: go back, cut off", _backed_up, _back, sweep, _state_kept, (EVENTS,)),
        *(_of_damaged(name, damage) for name in DAMAGED for damage in DAMAGES),
    ]


def sweep(folder: Path) -> None:
    """What the next start does with sets of files and with temporary files."""
    finish_and_sweep([Path(parent) for parent, _, _ in os.walk(folder)])


def again(act: Callable[[Path], object]) -> Callable[[Path], None]:
    """The next start, after which the same work is asked for again."""

    def start(folder: Path) -> None:
        sweep(folder)
        act(folder)

    return start


def undisturbed(before: Files, after: Files, now: Files) -> list[str]:
    """As if nothing had happened."""
    wrong = [f"{LOST}: {name}" for name in after if name not in now]
    wrong += [f"{LEFT}: {name}" for name in now if name not in after]
    return wrong + [f"{HALF}: {name}" for name in now if name in after and plain(now[name]) != plain(after[name])]


def _of_damaged(name: str, damage: str) -> Campaign:
    """Resumed with one file ``damage``d."""

    def prepare(folder: Path) -> None:
        _first_epoch(folder)
        path = _run(folder).folder / name
        path.write_bytes(DAMAGES[damage](path.read_bytes()))

    return Campaign(f"training: {name} {damage}", prepare, _train, again(_train), undisturbed, (EVENTS,), share=0.1)


def _first_epoch(folder: Path) -> None:
    config = TrainConfig(name="mira", data_dir="pictures", epochs=TOTAL // EPOCH)
    run = RunStore(folder / "runs", clock=lambda: 1.0).create(config)
    # a random number is in it otherwise
    birth = json.loads((run.folder / "run.json").read_text(encoding="utf-8")) | {"session_id": 7}
    (run.folder / "run.json").write_text(json.dumps(birth), encoding="utf-8")
    run.choose(1, 0.8)
    run.set_notes("Mine")
    _train(folder, until=EPOCH)


def _train(folder: Path, asked: str = "", until: int = TOTAL) -> None:
    """From the newest state on; what a training that has ended needs is nothing."""
    run = _run(folder)
    if run.status == "finished":
        return
    session, requests = _session(folder, run), Requests()
    measured = {"fixed_loss": 0.25, "fixed_losses": [0.25, 0.25]}
    with patch.object(keeper, "epoch_losses", lambda *_: measured), patch.object(state, "save_file", save_file):
        while session.step < until:
            _step(session)
            if asked and session.step == SAVED_AT:
                requests.add(asked)
            for _ in after_step(session, requests):
                pass
        if until == TOTAL:
            run.set_result("finished", session.step, keeper.write_final(session))


def _backed_up(folder: Path) -> None:
    """All epochs are done, and the state after the first was kept."""
    _first_epoch(folder)
    back_up(_run(folder))
    _train_and_save(folder)  # the newest state is in the second slot then, and another step in the first


def _back(folder: Path) -> None:
    go_back(_run(folder), EPOCH)


def _gone_back(before: Files, after: Files, now: Files) -> list[str]:
    """As if nothing had happened, in whichever slot the state is."""

    def renamed(files: Files) -> Files:
        return {name.replace("/state/b.", "/state/a."): data for name, data in files.items()}

    return undisturbed(before, renamed(after), renamed(now))


def _state_kept(before: Files, after: Files, now: Files) -> list[str]:
    """The run stands at one of both steps, and the other can be gone to."""
    newest = max((position(data) for name, data in now.items() if "/state/" in name and "tensors" in name), default=0)
    kept = {position(data) for name, data in now.items() if "/backups/" in name}
    wrong = [] if newest in (EPOCH, TOTAL) else [f"{HALF}: the run stands at step {newest}"]
    wrong += [] if {EPOCH, TOTAL} <= {*kept, newest} else [f"{LOST}: there are states of {sorted({*kept, newest})}"]
    return wrong + [f"{LEFT}: {name}" for name in now if name not in {*before, *after}]


def position(data: bytes) -> int:
    """The step of a state."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return int(json.loads(header["__metadata__"]["position"])["step"])


def _train_and_save(folder: Path) -> None:
    _train(folder, SAVE)


def _run(folder: Path) -> Run:
    return RunStore(folder / "runs").list()[0]


def _session(folder: Path, run: Run) -> Session:
    """As :func:`lib_lora.training.session.prepare` makes one, without model and pictures."""
    config = run.config()
    slots = StateSlots(run.state)
    saved = slots.newest()
    layers = {"lora_unet_mid_block_attentions_0_proj_in": torch.nn.Conv2d(4, 6, 1)}
    network = Network.create(layers, NetworkSpec(rank=2), seed=1)
    optimizer = build_optimizer(network, config)
    averaging = Averaging(network, optimizer, 0.0)
    step = saved.restore(network, optimizer, HERE, averaging) if saved else 0
    run.rewind(step)
    values: dict[str, Any] = {
        "data": SimpleNamespace(total=TOTAL, steps_per_epoch=EPOCH, fingerprint=HERE, batches=None, held_out=None),
        "checkpoints": Checkpoints(folder / "loras", config.name, "fp16", {"ss_session_id": "7"}),
        "model": None, "denoiser": None, "scaler": None, "applied": [], "notes": [],
        "parallel": SimpleNamespace(leads=True),
    }  # fmt: skip
    return Session(
        run=run, config=config, slots=slots, network=network, optimizer=optimizer, averaging=averaging,
        meter=Meter(torch.device("cpu")), step=step, **values,
    )  # fmt: skip


def _step(session: Session) -> None:
    for parameter in session.network.parameters():
        parameter.grad = torch.full_like(parameter, 0.1 * (session.step + 1))
    session.optimizer.step()
    session.step += 1
    session.meter.add(session.step, 1e-4, torch.tensor(0.5), torch.tensor(1.0))
    keeper.read_meter(session)


def save_file(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """safetensors' own writes go past `open`, and so past the disk's faults."""
    with open(path, "wb") as file:
        file.write(save(tensors, metadata))


def _progress(before: Files, after: Files, now: Files) -> list[str]:
    """Everything is whole, and no step behind what it was."""
    wrong = [f"{LOST}: {name}" for name in before if name not in now]
    wrong += [f"{LEFT}: {name}" for name in now if name not in after]
    known = {plain(data) for data in (*before.values(), *after.values())}
    for name in [name for name in now if name in after and plain(now[name]) not in known]:
        if name.endswith("metrics.jsonl"):
            whole = after[name].startswith(now[name])  # a line that was cut off is no step
        elif name.endswith("epochs.json"):
            rows = json.loads(now[name])
            whole = rows == json.loads(after[name])[: len(rows)]
        else:
            whole = False
        wrong += [] if whole else [f"{HALF}: {name}"]
    return wrong


def plain(data: bytes) -> bytes:
    """A safetensors file with its header in order, which is a matter of chance; others as they are."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = cast("dict[str, Any]", json.loads(data[8 : 8 + length]))
    except ValueError:
        return data
    return json.dumps(header, sort_keys=True).encode() + data[8 + length :]
