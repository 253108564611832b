"""Merges, extraction and the base style as jobs of the queue."""

from __future__ import annotations

import threading

import pytest
import safetensors.torch
import torch

from lib_lora.adapters import Network, NetworkSpec, write_lora
from lib_lora.adapters.extract import Extraction
from lib_lora.adapters.file import read_lora, to_delta
from lib_lora.errors import UserError
from lib_lora.jobs.merge_jobs import CheckpointJob, ExtractJob, MergeJob
from lib_lora.models.base import GenerationRequest
from lib_lora.tools.base_style import framed
from lib_lora.tools.made.spec import PictureSpec
from lib_lora.tools.merge import Reduction
from lib_lora.training.config import TrainConfig
from lib_lora.workbench import Workbench
from lib_lora.workbench.base_style import BaseStyle

WAIT = 300
SMALL = GenerationRequest("", width=64, height=64, steps=1, cfg=1.0)


@pytest.fixture
def bench(tiny_host):
    torch.set_num_threads(1)
    return Workbench(tiny_host)


@pytest.fixture
def make_lora(bench):
    def make(name: str, seed: int, **spec: object):
        with bench.host.training_session() as model:
            layers = {key: layer for key, layer in model.layers().items() if "mid_block" in key}
            network = Network.create(layers, NetworkSpec(rank=2, alpha=2, **spec), seed)
            for parameter in network.parameters():
                parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) * 0.1
            return write_lora(bench.host.paths.loras / f"{name}.safetensors", network.modules(), {}, torch.float32)

    return make


def done(bench, job):
    view = bench.queue.wait(bench.queue.submit(job), WAIT)
    assert view.state == "done", view.traceback
    return view


def test_a_merge_has_a_curve_and_the_weights_of_the_loaded_model(bench, make_lora, tiny_checkpoint):
    make_lora("plain", 1)
    dora = make_lora("dora", 2, dora=True)
    presets = bench.host.paths.data / "presets.txt"
    view = done(bench, MergeJob(bench.queue, "plain:1,dora:-1", Reduction(4), presets))
    assert view.merged.rank == 4
    assert list(view.curve) == sorted(view.curve) and view.curve[-1] == pytest.approx(1)
    exact = done(bench, MergeJob(bench.queue, "plain:1", Reduction(), presets))
    assert exact.merged.rank == 2 and len(exact.curve) == 2
    named = done(bench, MergeJob(bench.queue, "dora:1", Reduction(), presets, "tiny")).merged
    loaded = done(bench, MergeJob(bench.queue, "dora:1", Reduction(), presets)).merged
    assert [job.merged is not None for job in bench.queue.jobs()] == [False, False, False, True]  # the newest only
    key = next(iter(read_lora(dora).modules))
    assert torch.allclose(to_delta(named.modules[key]).dense(), to_delta(loaded.modules[key]).dense(), atol=1e-3)


def test_into_a_checkpoint_and_out_again(bench, make_lora, tiny_checkpoint, tmp_path):
    lora = make_lora("plain", 1)
    presets = bench.host.paths.data / "presets.txt"
    target = tiny_checkpoint.parent / f"{tmp_path.name}.safetensors"
    try:
        view = done(bench, CheckpointJob(bench.queue, "plain:1", "tiny", target, presets))
        assert view.plain() == {"path": str(target), "left_out": []}
        found = done(bench, ExtractJob(bench.queue, target.stem, "tiny", Extraction(rank=4))).merged
        want = read_lora(lora).modules
        assert found.modules.keys() == want.keys()
        for key, params in want.items():
            exact = to_delta(params).dense()
            assert ((to_delta(found.modules[key]).dense() - exact).norm() / exact.norm()).item() < 0.05  # fp16 model
    finally:
        target.unlink(missing_ok=True)
        target.with_suffix(".yaml").unlink(missing_ok=True)


def test_a_cancelled_merge_leaves_no_file(bench, make_lora, tiny_checkpoint):
    make_lora("plain", 1)
    target = tiny_checkpoint.parent / "cancelled.safetensors"
    job = CheckpointJob(bench.queue, "plain:1", "tiny", target, bench.host.paths.data / "presets.txt")
    reached = threading.Event()
    layer_done = job.layer_done

    def cancel_first(count: int, total: int) -> None:
        if not reached.is_set():
            reached.set()
            bench.queue.cancel(job.id)
        layer_done(count, total)

    job.layer_done = cancel_first
    assert bench.queue.wait(bench.queue.submit(job), WAIT).state == "cancelled"
    assert not target.exists() and not list(target.parent.glob(".*.part"))


def test_a_base_style_goes_on_after_each_step(bench):
    base = BaseStyle(bench, "BASE")
    assert (base.spec(), base.pictures(), base.run(), base.lora()) == (None, [], None, None)
    spec = PictureSpec(framed(["1girl"], ["full_body", "face_focus"]), 2, SMALL)
    with pytest.raises(UserError, match="not complete"):
        base.train(TrainConfig())
    assert bench.queue.wait(base.generate("tiny", spec), WAIT).state == "done"
    assert base.spec() == ("tiny", spec) and len(base.pictures()) == 2
    with pytest.raises(UserError, match="other settings"):
        base.generate("tiny", PictureSpec(spec.prompts, 3, SMALL))
    base.pictures()[0].unlink()
    assert bench.queue.wait(base.generate("tiny", spec), WAIT).state == "done"
    like = TrainConfig(resolution=64, bucket_step=8, rank=2, batch_size=1, epochs=1, fixed_loss_images=0, max_tokens=75)
    with pytest.raises(UserError, match="no LoRA BASE yet"):
        base.formula("STYLE", "GP1", "GP2")
    view = bench.queue.wait(base.train(like), WAIT)
    assert view.state == "done", view.traceback
    assert base.run().status == "finished" and base.run().config().model == "tiny"
    captions = {path.read_text(encoding="utf-8") for path in base.folder.glob("*.txt")}
    assert captions == {"1girl, full body", "1girl, face focus"}
    assert base.formula("STYLE", "GP1", "GP2") == "STYLE:1:GP1,BASE:-1:GP2"
    assert safetensors.torch.load_file(base.lora())
    with pytest.raises(UserError, match="of that name exists"):
        base.train(like)
