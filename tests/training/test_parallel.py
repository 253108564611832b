"""Several processes make the same file as one."""

from __future__ import annotations

import multiprocessing
import socket
from pathlib import Path

import pytest
import torch

from lib_lora import cli
from lib_lora.adapters.file import read_lora
from lib_lora.training.config_file import write_config
from lib_lora.training.parallel import ALONE, Parallel
from lib_lora.training.run_store import RunStore
from tests.training.parallel_worker import run_cli, train_part
from tests.training.test_resume import METHOD
from tests.training.worlds import image_folder, small_config

TEN = {"epochs": 2, "gradient_accumulation": 1, "save_precision": "fp32", "fixed_loss_images": 2, "model": "tiny",
          "batch_size": 2, "save_every_n_epochs": 2, "max_tokens": 150, "batch_parts": 2}  # fmt: skip


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_shares_are_even_and_leave_nothing_out(world):
    for count in range(9):
        shares = [Parallel(rank, world).share(count) for rank in range(world)]
        assert [i for share in shares for i in range(count)[share]] == list(range(count))
        sizes = [share.stop - share.start for share in shares]
        assert max(sizes) - min(sizes) <= 1


def test_parts_are_handed_out_whole():
    for world in (1, 2, 3):
        for count in (1, 2, 4, 5):
            parts = [part for rank in range(world) for part in Parallel(rank, world).parts(count)]
            total = max(world, count)
            assert parts == [Parallel(i, total) for i in range(total)]


def test_alone_nothing_is_sent():
    tensor = torch.ones(2)
    ALONE.add_up([tensor])
    ALONE.wait()
    assert ALONE.told("x") == "x" and tensor.tolist() == [1, 1] and ALONE.leads


def together(target, *arguments, world: int = 2) -> list[int]:
    """Exit codes of ``target(rank, world, port, *arguments)`` in as many processes."""
    context = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":
        context.set_forkserver_preload(["tests.training.parallel_worker"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [context.Process(target=target, args=(rank, world, port, *arguments)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        if process.is_alive():
            process.kill()
    return [process.exitcode for process in processes]


@pytest.fixture(scope="module")
def alone(tiny_checkpoint, tmp_path_factory):
    """(base folder, settings file, weights) of 10 steps in one process, the text encoder too."""
    torch.set_num_threads(1)
    base = tmp_path_factory.mktemp("parallel")
    images = image_folder(base / "set")
    long = "girl, " + ", ".join(["a very long caption of many words"] * 12)  # two chunks: both must see as many
    (images / "2_girl" / "0.txt").write_text(long, encoding="utf-8")
    (images / "2_girl").rename(images / "3_girl")
    config = small_config(images, **TEN)
    write_config(base / "run.toml", config)
    assert cli.main(arguments(base, "one", tiny_checkpoint)) == 0
    return base, config, weights(base / "one")


def arguments(base: Path, name: str, checkpoint: Path) -> list[str]:
    place = ["--data", str(base / name), "--checkpoints", str(checkpoint.parent), "--model", "tiny"]
    return ["train", str(base / "run.toml"), *place]


def weights(data: Path) -> dict[str, torch.Tensor]:
    modules = read_lora(data / "loras" / "mira.safetensors").modules
    return {f"{key}.{name}": tensor for key, tensors in modules.items() for name, tensor in tensors.items()}


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert max(tensor.abs().max().item() for name, tensor in wanted.items() if "lora_up" in name) > 1e-3  # was 0


def test_two_processes_make_the_file_of_one(tiny_checkpoint, alone):
    base, _, expected = alone
    assert together(run_cli, arguments(base, "two", tiny_checkpoint)) == [0, 0]
    assert_same(weights(base / "two"), expected)
    one, two = (RunStore(base / name / "runs").list()[0] for name in ("one", "two"))
    assert len(two.metrics()) == len(one.metrics()) == 10 and two.status == "finished"
    assert [row["loss"] for row in two.metrics()] == [row["loss"] for row in one.metrics()]


def test_a_run_of_two_goes_on_in_one(tiny_checkpoint, alone):
    base, config, expected = alone
    root = base / "mixed"
    run = RunStore(root / "runs").create(config)
    assert together(train_part, root, tiny_checkpoint, run.id, 4) == [0, 0]
    assert run.status == "stopped" and len(run.metrics()) == 4
    place = ["--data", str(root), "--checkpoints", str(tiny_checkpoint.parent), "--model", "tiny"]
    assert cli.main(["train", "--resume", run.id, *place]) == 0
    assert_same(weights(root), expected)
