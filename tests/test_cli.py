from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import torch

from lib_lora import cli
from lib_lora.adapters import Network, NetworkSpec, write_lora
from lib_lora.adapters.file import read_lora
from lib_lora.cli_train import Signals, follow
from lib_lora.demo.world import Spec, render
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_file import read_config, write_config
from lib_lora.training.run_store import RunStore
from lib_lora.training.state import StateSlots
from lib_lora.workbench import Workbench
from tests.jobs.end_worker import one_step

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "numpy", "PIL", "gradio", "diffusers"}


def test_help_imports_nothing_that_takes_long():
    code = f"import sys\nfrom lib_lora.cli import parser\nparser().format_help()\nprint(*{HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("command", ["serve", "train", "tour", "bench", "demo", "merge", "grid"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    assert command in capsys.readouterr().out


def test_what_the_user_can_mend_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert cli.main(["merge", "NOBODY:1", "--data", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "NOBODY" in error and "Traceback" not in error


def test_merge_reports_and_saves(tmp_path, capsys):
    layers = {"lora_unet_mid_block_attentions_0_proj_in": torch.nn.Linear(8, 8)}
    for seed, name in enumerate(("A", "B")):
        network = Network.create(layers, NetworkSpec(rank=2), seed)
        for parameter in network.parameters():
            parameter.data.normal_(generator=torch.Generator().manual_seed(seed))
        write_lora(tmp_path / "loras" / f"{name}.safetensors", network.modules(), {})
    assert cli.main(["merge", "A:1,B:-1", "--data", str(tmp_path), "--save", "C", "--rank", "3"]) == 0
    assert "rank 3" in capsys.readouterr().out
    assert read_lora(tmp_path / "loras" / "C.safetensors").metadata["merge_formula"] == "A:1,B:-1"
    assert cli.main(["merge", "A:1", "--data", str(tmp_path), "--save", "C"]) == 2


def test_bench_prints_json_last(monkeypatch, capsys):
    fake = SimpleNamespace(run=lambda: {"speedup": 2.0})
    monkeypatch.setitem(sys.modules, "bench.merge", fake)
    assert cli.main(["bench", "merge"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"speedup": 2.0}


def settings(tmp_path, checkpoint, epochs: int, **changes: int) -> tuple[str, list[str]]:
    """A settings file, and the options that say where everything is."""
    images = tmp_path / "images"
    images.mkdir()
    for seed in range(2):
        render(Spec(size=(64, 64), seed=seed)).save(images / f"{seed}.png")
    toml = tmp_path / "run.toml"
    write_config(toml, TrainConfig(name="doll", trigger="doll", data_dir=str(images), model="tiny", epochs=epochs,
                                   rank=2, resolution=64, bucket_step=8, max_tokens=75, **changes))  # fmt: skip
    return str(toml), ["--data", str(tmp_path / "data"), "--checkpoints", str(checkpoint.parent), "--model", "tiny"]


def test_a_signal_saves_and_the_run_is_told_from_its_beginning(tiny_checkpoint, tmp_path, capsys):
    toml, place = settings(tmp_path, tiny_checkpoint, epochs=1000)
    command = [sys.executable, "-m", "lib_lora", "train", toml, *place]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    for line in child.stdout:
        lines.append(line)
        if "epoch 1" in line:
            child.send_signal(signal.SIGTERM)
            break
    rest, errors = child.communicate(timeout=120)
    assert child.returncode == 130, errors
    run = next(line.split()[1] for line in lines if line.startswith("run "))
    assert "saves its state" in rest and f"train --resume {run}" in rest and "Traceback" not in errors
    state = StateSlots(tmp_path / "data" / "runs" / run / "state").position()
    assert state.step > 0
    assert cli.main(["train", toml, *place]) == 2  # not a second run that fails late
    assert f"train --resume {run}" in capsys.readouterr().err
    assert cli.main(["runs", "--data", str(tmp_path / "data")]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 1 and run in listed[0] and "stopped" in listed[0] and "doll" in listed[0]


def test_a_served_training_saves_its_state_before_the_end(tiny_checkpoint, tmp_path):
    """A closed console or a stopped service cut the run off at the state that it had kept last."""
    toml, place = settings(tmp_path, tiny_checkpoint, epochs=1000)
    (tmp_path / "data").mkdir()
    (tmp_path / "images").rename(tmp_path / "data" / "images")  # within reach of the API
    given = {**asdict(read_config(toml)), "data_dir": str(tmp_path / "data" / "images")}
    command = [sys.executable, "-u", "-m", "lib_lora", "serve", "--port", "7940", *place]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = next(line for line in child.stdout if " is at " in line).split(" is at ")[1].split()[0]
        api = f"{address.rstrip('/')}/lora-workbench/v1"
        posted = [httpx.post(f"{api}/start", json={"settings": {**given, "name": name}}).json() for name in "ab"]
        first, second = (RunStore(tmp_path / "data" / "runs").open(one["run"]) for one in posted)
        while first.steps < 2:
            time.sleep(0.1)
        child.send_signal(signal.SIGTERM)
        rest, errors = child.communicate(timeout=120)
    finally:
        child.kill()
    assert child.returncode == 0 and "saved its state" in rest and "Traceback" not in errors, errors
    assert first.status == "stopped" and StateSlots(first.state).position().step == first.steps >= 2
    assert second.steps == 0  # what waited did not begin


def test_a_second_signal_leaves_at_once(tiny_host, tmp_path, capsys):
    bench, signals = Workbench(tiny_host), Signals()
    job = bench.start_training(one_step(tmp_path / "set", epochs=1000))
    while bench.queue.view(job).phase != "training":
        bench.queue.wait(job, 0.01)
    with bench.host.gpu_lock:  # the step that is being made takes long
        signals.presses = 1
        follower = threading.Thread(target=follow, args=(bench, job, signals))
        follower.start()
        follower.join(1)
        signals.presses = 2
    follower.join(60)
    assert bench.queue.view(job).state == "cancelled" and not follower.is_alive()


HANGING = """
import sys, time
from lib_lora import cli, cli_train
from lib_lora.training.session import Session

loss = Session.loss

def hanging(session, *batch):
    if session.step == 2:
        print("hangs", flush=True)
        time.sleep(1000)
    return loss(session, *batch)

Session.loss, cli_train.PATIENCE = hanging, 0.2
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def interruptible():
    """Ctrl+C counts: what a shell starts in the background ignores it, and so does what that starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_signal_ends_a_step_that_hangs_and_leaves_nothing_half(tiny_checkpoint, tmp_path, interruptible):
    toml, place = settings(tmp_path, tiny_checkpoint, epochs=3, state_every_n_steps=1)
    command = [sys.executable, "-c", HANGING, "train", toml, *place]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    for line in child.stdout:
        lines.append(line)
        if line == "hangs\n":
            child.send_signal(signal.SIGTERM)
        elif "once more leaves at once" in line:
            child.send_signal(signal.SIGINT)
            break
    rest, errors = child.communicate(timeout=240)
    assert child.returncode == 130 and "Traceback" not in errors, errors
    run = next(line.split()[1] for line in lines if line.startswith("run "))
    assert f"left in the middle of a step; go on with: train --resume {run}" in rest
    data = tmp_path / "data"
    assert not list(data.rglob("*.part")) and StateSlots(data / "runs" / run / "state").position().step == 2
    assert cli.main(["train", "--resume", run, *place]) == 0
    assert not list(data.rglob("*.lock")) and (data / "loras" / "doll.safetensors").is_file()


def test_signals_are_given_back(interruptible):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), Signals() as signals:
        signal.raise_signal(signal.SIGTERM)
    with Signals() as signals:
        signals.count()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert signals.presses == 2
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_train_then_grid(tiny_checkpoint, tmp_path, capsys):
    toml, place = settings(tmp_path, tiny_checkpoint, epochs=2)
    assert cli.main(["train", toml, *place]) == 0
    out = capsys.readouterr().out
    assert "2/2" in out
    run = out.split("--training ")[1].split()[0]
    arguments = ["--training", run, "--prompt", "doll", "--weights", "0,1", "--size", "64x64", "--steps", "1"]
    assert cli.main(["grid", *arguments, "--output", str(tmp_path / "grid"), *place]) == 0
    assert "4/4" in capsys.readouterr().out
    assert (tmp_path / "grid" / "grid.png").exists()
    assert cli.main(["train", toml, *place]) == 2, "the LoRA exists"
    assert cli.main(["train", "--resume", run, *place]) == 2, "the run is finished"


@pytest.mark.parametrize("package", ["peft", "lycoris"])
def test_a_measurement_without_a_package_of_the_tests_names_it(package, monkeypatch, capsys):
    """Those that others are compared with are imported in the middle of it."""
    from bench import step
    from lib_lora.demo.architecture import TEST_SHAPE

    monkeypatch.setattr(step, "SIZES", {name: step.Size(TEST_SHAPE, 64, 1, 1) for name in step.SIZES})
    monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(["bench", "step"]) == 2
    errors = capsys.readouterr().err
    assert f"pip install {package}" in errors and "Traceback" not in errors
