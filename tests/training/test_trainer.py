"""Whole runs on the tiny checkpoint."""

from __future__ import annotations

import hashlib
import shutil

import pytest
import torch
from PIL import Image

from lib_lora.adapters.file import read_lora
from lib_lora.dataset.batches import MicroBatch
from lib_lora.errors import UserError
from lib_lora.training.events import EpochDone, Failed, Finished, SampleDue, Saved, StepDone, Stopped, Warned
from lib_lora.training.noise import NoiseDraw
from lib_lora.training.preservation import preservation_loss, without_trigger
from lib_lora.training.run_store import RunStore
from lib_lora.training.state import StateSlots
from lib_lora.training.trainer import Trainer
from tests.training.worlds import image_folder, small_config


@pytest.fixture
def start(tiny_host, tmp_path):
    """Run a config (or continue a run) on the tiny model; returns run, trainer and a way to pump events."""
    torch.set_num_threads(1)
    folder = image_folder(tmp_path / "set")
    store = RunStore(tiny_host.paths.runs)

    def begin(model, run=None, **changes):
        run = run or store.create(small_config(folder, **changes))
        return Trainer(run, model, tiny_host.paths)

    return begin


def kinds(events, *wanted):
    return [event for event in events if isinstance(event, wanted)]


def weights_hash(model) -> str:
    digest = hashlib.sha256()
    for layer in model.layers().values():
        digest.update(layer.weight.detach().numpy().tobytes())
    return digest.hexdigest()


def test_a_whole_run(tiny_host, start):
    with tiny_host.training_session() as model:
        before = weights_hash(model)
        hooks = [len(layer._forward_hooks) for layer in model.layers().values()]
        trainer = start(model, epochs=2, sample_every_n_epochs=2)
        events = list(trainer.run())
        assert weights_hash(model) == before
        assert [len(layer._forward_hooks) for layer in model.layers().values()] == hooks
    steps, epochs = kinds(events, StepDone), kinds(events, EpochDone)
    assert [e.step for e in steps] == list(range(1, 7)) and {e.total for e in steps} == {6}
    assert [e.epoch for e in epochs] == [1, 2] and all(e.fixed_loss > 0 for e in epochs)
    assert [e.epoch for e in kinds(events, SampleDue)] == [2]
    assert isinstance(events[-1], Finished)
    loras = tiny_host.paths.loras
    assert sorted(p.name for p in loras.iterdir()) == ["mira-000001.safetensors", "mira.safetensors"]
    metrics = trainer.run_folder.metrics()
    assert [row["step"] for row in metrics] == list(range(1, 7))
    assert epochs[1].running_loss == pytest.approx(sum(row["loss"] for row in metrics[3:]) / 3)
    file = read_lora(loras / "mira.safetensors")
    assert any(module["lora_up.weight"].abs().max() > 0 for module in file.modules.values())
    assert {"ss_tag_frequency", "ss_new_sd_model_hash", "sshs_model_hash", "modelspec.architecture"} <= set(
        file.metadata
    )
    assert file.metadata["ss_epoch"] == "2" and file.metadata["ss_steps"] == "6"


def test_only_the_first_ranks_learn_at_noisy_timesteps(tiny_host, start):
    noisy = {"epochs": 1, "rank": 4, "tlora_rank": 1, "te_lr": 1e-3, "min_timestep": 700}
    with tiny_host.training_session() as model:
        assert isinstance(list(start(model, **noisy).run())[-1], Finished)
    modules = read_lora(tiny_host.paths.loras / "mira.safetensors").modules
    for key, tensors in modules.items():
        learned = tensors["lora_up.weight"].flatten(1).abs().amax(0)
        assert learned[0] > 0, key
        assert (learned[1:] > 0).all() if key.startswith("lora_te") else (learned[1:] == 0).all(), key


def test_samples_before_the_first_step_change_nothing_of_the_training(tiny_host, start):
    def trained(name, **options):
        with tiny_host.training_session() as model:
            events = list(start(model, name=name, epochs=1, sample_every_n_epochs=1, **options).run())
        return events, read_lora(tiny_host.paths.loras / f"{name}.safetensors").modules

    plain, without = trained("plain")
    sampled, after = trained("sampled", sample_first=True)
    assert [(e.epoch, e.step) for e in kinds(plain, SampleDue)] == [(1, 3)]
    assert [(e.epoch, e.step) for e in kinds(sampled, SampleDue)] == [(0, 0), (1, 3)]
    first = next(i for i, event in enumerate(sampled) if isinstance(event, StepDone))
    assert any(isinstance(event, SampleDue) for event in sampled[:first])
    for layer, tensors in without.items():
        assert all(torch.equal(tensor, after[layer][key]) for key, tensor in tensors.items())


def test_it_learns(tiny_host, start):
    with tiny_host.training_session() as model:
        trainer = start(model, epochs=4, fixed_loss_images=6, fixed_loss_timesteps=4, rank=8, alpha=8.0)
        losses = [e.fixed_loss for e in kinds(trainer.run(), EpochDone)]
    assert losses[-1] < losses[0] and losses == sorted(losses, reverse=True)


def test_preserving_the_base_keeps_the_rest_as_it_was(tiny_host, start):
    with tiny_host.training_session() as model:
        drift = []
        for weight in (0.0, 10.0):
            settings = {"preserve_weight": weight, "preserve_class": "doll", "rank": 8, "alpha": 8.0}
            trainer = start(model, name=f"p{weight:g}", epochs=4, **settings)
            noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
            batch = MicroBatch(torch.ones(1, 4, 8, 8), ["mira, red"], [], torch.ones(1), torch.zeros(1, 6))
            for event in trainer.run():
                if isinstance(event, Finished):  # the network is attached still
                    session = trainer.session
                    with torch.no_grad():
                        drawn = NoiseDraw(torch.tensor([400]), noise, noise)
                        drift.append(preservation_loss(session.denoiser, session.network, batch, drawn).item())
                    assert session.network.enabled
    assert 0 < drift[1] < 0.7 * drift[0]


@pytest.mark.parametrize(
    ("caption", "class_word", "expected"),
    [("mira, red hat", "doll", "doll, red hat"), ("mira, red hat", "", "red hat"), ("red hat", "doll", "doll, red hat"),
     ("mira", "", "")],
)  # fmt: skip
def test_the_class_word_stands_for_the_trigger(caption, class_word, expected):
    assert without_trigger(caption, "mira", class_word) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "Prodigy", "unet_lr": 1.0, "te_lr": 1.0, "ema_decay": 0.9, "schedule": "rex"},
        {"optimizer": "ScheduleFreeAdamW", "dora": True, "network_dropout": 0.2, "tag_dropout": 0.3},
        {"algorithm": "lokr", "multires_iterations": 4, "loss_type": "huber", "caption_dropout": 0.2},
    ],
    ids=["prodigy", "schedule-free", "lokr"],
)
def test_stop_and_continue_is_exact_with_other_settings(tiny_host, start, changes):
    with tiny_host.training_session() as model:
        whole = start(model, name="whole", epochs=2, **changes)
        assert isinstance(list(whole.run())[-1], Finished)
        stopped = start(model, name="parts", epochs=2, **changes)
        for event in stopped.run():
            if isinstance(event, StepDone) and event.step == 2:
                stopped.requests.add("stop")
        assert isinstance(list(start(model, stopped.run_folder).run())[-1], Finished)
    a, b = (read_lora(tiny_host.paths.loras / f"{name}.safetensors").modules for name in ("whole", "parts"))
    assert all(torch.equal(tensor, b[key][name]) for key, params in a.items() for name, tensor in params.items())


def test_only_what_has_a_rate_is_trained(tiny_host, start):
    with tiny_host.training_session() as model:
        list(start(model, epochs=1, te_lr=0.0, shuffle=False).run())
    assert all(key.startswith("lora_unet_") for key in read_lora(tiny_host.paths.loras / "mira.safetensors").modules)


def test_accumulation_counts_steps_per_epoch(tiny_host, start):
    with tiny_host.training_session() as model:
        events = list(start(model, epochs=2, gradient_accumulation=2).run())
    assert [e.step for e in kinds(events, StepDone)] == [1, 2, 3, 4]  # 3 batches: 2 + 1 in each epoch


def test_an_accumulated_step_is_the_mean_of_its_batches(tiny_host, start):
    with tiny_host.training_session() as model:
        still = {"epochs": 1, "unet_lr": 1e-12, "te_lr": 0.0}  # so that the second batch meets the same weights
        single = [e.loss for e in kinds(start(model, name="one", **still).run(), StepDone)]
        accumulated = kinds(start(model, name="all", gradient_accumulation=3, **still).run(), StepDone)
    assert [e.loss for e in accumulated] == [pytest.approx(sum(single) / 3)]


def test_stop_and_continue_gives_the_same_file(tiny_host, start):
    with tiny_host.training_session() as model:
        whole = start(model, epochs=2)
        list(whole.run())
        final = (tiny_host.paths.loras / "mira.safetensors").read_bytes()
        shutil.rmtree(tiny_host.paths.loras)
        run = whole.run_folder
        for name in ("state", "samples"):
            shutil.rmtree(run.folder / name, ignore_errors=True)
        trainer = start(model, run)
        events = []
        for event in trainer.run():
            events.append(event)
            if isinstance(event, StepDone) and event.step == 2:
                trainer.requests.add("save_and_stop")
        assert kinds(events, Stopped) == [Stopped(2)] and run.status == "stopped"
        saved = kinds(events, Saved)[0].path
        assert saved.name == "mira-step00000002.safetensors" and saved.is_file()
        assert isinstance(list(start(model, run).run())[-1], Finished)
    assert (tiny_host.paths.loras / "mira.safetensors").read_bytes() == final


def test_continuing_a_finished_run_only_gives_its_file_back(tiny_host, start):
    with tiny_host.training_session() as model:
        trainer = start(model, epochs=1)
        list(trainer.run())
        final = tiny_host.paths.loras / "mira.safetensors"
        before = final.read_bytes()
        final.unlink()
        again = list(start(model, trainer.run_folder).run())
    assert final.read_bytes() == before
    assert not kinds(again, StepDone) and isinstance(again[-1], Finished)


def test_nan_stops_and_keeps_the_last_good_file(tiny_host, start):
    with tiny_host.training_session() as model:
        trainer = start(model, epochs=4)
        events = []
        for event in trainer.run():
            events.append(event)
            if isinstance(event, StepDone) and event.step == 4:
                trainer.session.network.parameters()[0].data.fill_(float("nan"))
        failed = events[-1]
        assert isinstance(failed, Failed) and failed.step == 5
        assert failed.last_good.name == "mira-000001.safetensors" and failed.error.fix
        assert StateSlots(trainer.run_folder.state).position().step == 3
        assert trainer.run_folder.status == "failed"
        assert all(not layer._forward_hooks for layer in model.layers().values())
    assert sorted(p.name for p in tiny_host.paths.loras.iterdir()) == ["mira-000001.safetensors"]
    read_lora(failed.last_good)


def test_closing_the_generator_leaves_the_model_clean(tiny_host, start):
    with tiny_host.training_session() as model:
        events = start(model).run()
        for event in events:
            if isinstance(event, StepDone):
                break
        events.close()
        assert all(not layer._forward_hooks for layer in model.layers().values())


def test_an_existing_lora_is_never_overwritten(tiny_host, start):
    with tiny_host.training_session() as model:
        list(start(model, epochs=1).run())
        before = (tiny_host.paths.loras / "mira.safetensors").read_bytes()
        with pytest.raises(UserError, match="Choose another name"):
            list(start(model, epochs=1, seed=7).run())
    assert (tiny_host.paths.loras / "mira.safetensors").read_bytes() == before


def test_broken_images_are_named_and_skipped(tiny_host, start, tmp_path):
    (tmp_path / "set" / "2_girl" / "broken.png").write_bytes(b"no image")
    with tiny_host.training_session() as model:
        events = list(start(model, epochs=1).run())
    assert any("broken.png" in e.message for e in kinds(events, Warned))
    assert isinstance(events[-1], Finished)


def test_changed_captions_cannot_be_resumed(tiny_host, start, tmp_path):
    with tiny_host.training_session() as model:
        trainer = start(model, state_every_n_steps=1)
        for event in trainer.run():
            if isinstance(event, StepDone) and event.step == 2:
                trainer.requests.add("stop")
        (tmp_path / "set" / "2_girl" / "0.txt").write_text("something else", encoding="utf-8")
        with pytest.raises(UserError, match="captions were changed"):
            list(start(model, trainer.run_folder).run())


def test_gradient_checkpointing_gives_the_same_gradients(tiny_host, start):
    with tiny_host.training_session() as model:
        norms = []
        for on in (False, True):
            trainer = start(model, name=f"on{on}", epochs=1, gradient_checkpointing=on)
            list(trainer.run())
            norms.append([row["grad_norm"] for row in trainer.run_folder.metrics()])
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def test_a_batch_in_parts_learns_the_same(tiny_host, start):
    with tiny_host.training_session() as model:
        losses = []
        for parts in (1, 2, 5):  # of two pictures: the third part and those after it are empty
            trainer = start(model, name=f"parts{parts}", epochs=1, batch_parts=parts, gradient_accumulation=2)
            losses.append([e.loss for e in kinds(trainer.run(), StepDone)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and losses[0] == pytest.approx(losses[2], rel=1e-3)


def test_masks_regularisation_and_kohyas_captions_in_a_run(tiny_host, start, tmp_path):
    """A mask over everything is no mask; a regularisation weight of 0 leaves its batches without a gradient."""
    Image.new("L", (64, 64), 255).save(tmp_path / "set" / "2_girl" / "0_mask.png")
    reg = tmp_path / "reg"
    reg.mkdir()
    Image.new("RGB", (64, 64), "red").save(reg / "r.png")
    extra = {"epochs": 1, "batch_size": 1, "flip": False, "te_lr": 0.0, "fixed_loss_images": 0, "rank": 1}
    with tiny_host.training_session() as model:
        losses = {}
        for name, changes in {
            "plain": {"masks": "off"},
            "masked": {"masks": "files"},
            "text": {"chunk_layout": "kohya", "weighted_captions": True, "max_tokens": 150},
        }.items():
            events = list(start(model, name=name, **extra, **changes).run())
            losses[name] = [e.loss for e in kinds(events, StepDone)]
        weighed = start(model, name="reg", reg_dir=str(reg), prior_loss_weight=0.0, **extra)
        norms = [e.loss for e in kinds(weighed.run(), StepDone)]
    assert losses["masked"] == losses["plain"] != losses["text"]
    assert len(norms) == 12 and norms.count(0.0) == 6
    final = read_lora(tiny_host.paths.loras / "reg.safetensors").metadata
    assert final["ss_num_reg_images"] == "6" and '"reg"' in final["ss_reg_dataset_dirs"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_the_same_and_continues_exactly(tiny_host, start, precision):
    extra = {"epochs": 1, "fixed_loss_images": 0, "te_lr": 0.0, "rank": 1, "save_precision": "fp32"}
    with tiny_host.training_session() as model:
        full = [e.loss for e in kinds(start(model, name="full", **extra).run(), StepDone)]
        half = start(model, name="half", precision=precision, **extra)
        losses = [e.loss for e in kinds(half.run(), StepDone)]
        assert losses == pytest.approx(full, rel=0.03) and losses != full
        parts = start(model, name="parts", precision=precision, **extra)
        for event in parts.run():
            if isinstance(event, StepDone) and event.step == 2:
                parts.requests.add("stop")
        list(start(model, parts.run_folder).run())
    a, b = (read_lora(tiny_host.paths.loras / f"{name}.safetensors").modules for name in ("half", "parts"))
    assert all(torch.equal(tensor, b[key][name]) for key, params in a.items() for name, tensor in params.items())
    numbers = StateSlots(half.run_folder.state).newest().numbers
    assert ("group 0/loss_scale" in numbers) == (precision == "fp16")
