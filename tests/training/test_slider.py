"""Sliders: both ends from words or from pairs of pictures, judged against sums written down here, and real runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from lib_lora.dataset.batches import MicroBatch
from lib_lora.dataset.scan import scan
from lib_lora.errors import UserError
from lib_lora.lora_files import load_network
from lib_lora.models.base import GenerationRequest
from lib_lora.models.schedule import FlowSchedule, NoiseSchedule, Schedule
from lib_lora.training.config import TrainConfig
from lib_lora.training.data import dataset_config
from lib_lora.training.denoiser import Denoiser
from lib_lora.training.events import EpochDone, Finished, StepDone
from lib_lora.training.noise import NoiseDraw
from lib_lora.training.run_store import RunStore
from lib_lora.training.slider import denoiser_of, ends
from lib_lora.training.trainer import Trainer
from tests.training.worlds import image_folder, small_config

PLAIN = TrainConfig(seed=3, min_snr_gamma=0.0, te_lr=0.0, slider_strength=1.5)
GENERATOR = torch.Generator().manual_seed(0)


class Switch:
    """What the loss knows of a network."""

    def __init__(self) -> None:
        self.enabled, self.multiplier = True, 1.0


class Talker:
    """A model whose answer depends on picture, time and caption, and on the network that it has."""

    family, dtype = "sd1", torch.float64

    def __init__(self, prediction: str, network: Switch):
        self.prediction, self.network = prediction, network
        self.schedule: Schedule = FlowSchedule() if prediction == "flow" else NoiseSchedule()

    def encode_text(self, captions: list[str], **_: Any) -> Tensor:
        return torch.tensor([word(caption) for caption in captions]).reshape(-1, 1, 1)

    def predict(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        if not self.network.enabled:
            return said(x_t, t, cond)
        return said(x_t, t, cond) + delta(x_t) * torch.as_tensor(self.network.multiplier).reshape(-1, 1, 1, 1)


def word(caption: str) -> float:
    return sum(map(ord, caption)) % 97 / 97


def said(x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
    return torch.sin(x_t.double() + cond.reshape(-1, 1, 1, 1)) + t.double().reshape(-1, 1, 1, 1) / 1000


def delta(x_t: Tensor) -> Tensor:
    return torch.cos(x_t.double()) / 3


def judge(prediction: str, config: TrainConfig, batch: MicroBatch, drawn: NoiseDraw) -> Tensor:
    network = Switch()
    denoiser = denoiser_of(Talker(prediction, network), config)  # type: ignore[arg-type]
    denoiser.network = network  # type: ignore[assignment]
    with denoiser.learning():
        losses = denoiser.loss(batch, drawn)
        assert network.multiplier.tolist() == [1.0, 1.0, -1.0, -1.0]  # type: ignore[attr-defined]
    assert network.enabled and network.multiplier == 1.0
    return losses.double()


def samples(captions: list[str], after: bool = False) -> tuple[MicroBatch, NoiseDraw]:
    shape = (len(captions), 4, 6, 8)
    here, there, noise = (torch.randn(shape, generator=GENERATOR) for _ in range(3))
    sizes, weights = torch.zeros(len(captions), 6), torch.ones(len(captions))
    batch = MicroBatch(here, captions, [], weights, sizes, after=there if after else None)
    return batch, NoiseDraw(torch.tensor([150, 820]), noise, noise)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "flow"])
def test_the_loss_of_two_words_is_the_papers(prediction: str) -> None:
    config = replace(PLAIN, slider_more="night", slider_less="day")
    batch, drawn = samples(["girl, night", "boy"])
    schedule = Talker(prediction, Switch()).schedule
    x_t, t = schedule.add_noise(batch.latents.double(), drawn.noise.double(), drawn.t), drawn.t
    plain, more, less = (
        said(x_t, t, torch.tensor([word(text) for text in texts]))
        for texts in (["girl", "boy"], ["girl, night", "boy, night"], ["girl, day", "boy, day"])
    )
    expected = torch.zeros(2, dtype=torch.float64)
    for end in (1, -1):
        wanted = plain + end * 1.5 * (more - less)
        expected += (plain + end * delta(x_t) - wanted).square().mean(dim=(1, 2, 3)) / 2
    assert torch.allclose(judge(prediction, config, batch, drawn), expected, rtol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "flow"])
def test_the_loss_of_a_pair_adds_what_the_model_misses_of_the_change(prediction: str) -> None:
    """With x_t = a·x + s·n, for both pictures and the same noise."""
    config = replace(PLAIN, slider_after="after")
    batch, drawn = samples(["girl", "boy"], after=True)
    assert batch.after is not None
    before, after, n, t = batch.latents.double(), batch.after.double(), drawn.noise.double(), drawn.t
    if prediction == "flow":
        s = t.double().reshape(-1, 1, 1, 1) / 1000
        signal = 1 - s
    else:
        alphas = NoiseSchedule().alphas_cumprod.double()[t].reshape(-1, 1, 1, 1)
        signal, s = alphas.sqrt(), (1 - alphas).sqrt()

    def picture(x_t: Tensor, output: Tensor) -> Tensor:
        """x0 of what a model says."""
        if prediction == "epsilon":
            return (x_t - s * output) / signal
        return (signal * x_t if prediction == "v" else x_t) - s * output

    cond = torch.tensor([word("girl"), word("boy")])
    noised = [signal * one + s * n for one in (before, after)]
    said_of = [said(x_t, t, cond) for x_t in noised]
    seen = [picture(x_t, output) for x_t, output in zip(noised, said_of, strict=True)]
    misses = (after - before) - (seen[1] - seen[0])
    expected = torch.zeros(2, dtype=torch.float64)
    for end, x_t, plain, saw in ((1, noised[1], said_of[1], seen[1]), (-1, noised[0], said_of[0], seen[0])):
        wanted = plain + end * 1.5 * misses / (-s / signal if prediction == "epsilon" else -s)
        assert torch.allclose(picture(x_t, wanted) - saw, end * 1.5 * misses)
        expected += (plain + end * delta(x_t) - wanted).square().mean(dim=(1, 2, 3)) / 2
    assert torch.allclose(judge(prediction, config, batch, drawn), expected, rtol=1e-4)


def test_what_a_model_sees_already_is_not_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model that knows the noise, a pair has nothing to teach: the loss is that of any change."""
    batch, drawn = samples(["girl", "boy"], after=True)
    monkeypatch.setattr(f"{__name__}.said", lambda x_t, *_: drawn.noise.double().repeat(len(x_t) // 2, 1, 1, 1))
    loss = judge("epsilon", replace(PLAIN, slider_after="after"), batch, drawn)
    assert batch.after is not None
    x_t = [NoiseSchedule().add_noise(one, drawn.noise, drawn.t) for one in (batch.after, batch.latents)]
    changes = [delta(one).square().mean(dim=(1, 2, 3)) for one in x_t]
    assert torch.allclose(loss, (changes[0] + changes[1]) / 2, rtol=1e-4)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("girl, red hair", ("girl, red hair", "girl, red hair, smile", "girl, red hair, frown")),
        ("girl, Smile, hat", ("girl, hat", "girl, hat, smile", "girl, hat, frown")),
        ("", ("", "smile", "frown")),
        ("smile", ("", "smile", "frown")),
        ("a (b),c ,  d", ("a (b),c ,  d", "a (b),c ,  d, smile", "a (b),c ,  d, frown")),
    ],
)
def test_both_ends_have_all_else_in_common(caption: str, expected: tuple[str, str, str]) -> None:
    assert ends(caption, "smile", "frown") == expected


def test_without_the_negative_end_it_is_the_caption() -> None:
    assert ends("girl, smile", "smile", "") == ("girl", "girl, smile", "girl")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"slider_less": "frown"}, "slider_more"),
        ({"slider_more": "smile, hat", "slider_less": "HAT, Smile"}, "slider_less"),
        ({"slider_more": "smile", "slider_after": "x"}, "slider_after"),
        ({"slider_more": "smile", "te_lr": 1e-4}, "te_lr"),
        ({"slider_more": "smile", "preserve_weight": 1.0}, "preserve_weight"),
        ({"slider_more": "smile", "reg_dir": "x"}, "reg_dir"),
        ({"slider_after": "x", "color_aug": True}, "color_aug"),
        ({"slider_more": "smile", "slider_strength": 0.0}, "slider_strength"),
    ],
)
def test_settings_that_make_no_slider_are_named(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(UserError) as error:
        TrainConfig(**{"name": "a", "data_dir": "b", "te_lr": 0.0, **changes}).check()
    assert error.value.where == where


def pairs(root: Path) -> tuple[Path, Path]:
    """Three pictures before and after; the third has another size, a fourth no partner."""
    before, after = root / "before", root / "after"
    for folder, level in ((before, 40), (after, 220)):
        folder.mkdir(parents=True)
        for number in range(3):
            side = 96 if number == 2 and folder == after else 64
            Image.new("RGB", (64, side), (level, 30 * number, 90)).save(folder / f"{number}.png")
            (folder / f"{number}.txt").write_text("girl", encoding="utf-8")
    Image.new("RGB", (64, 64)).save(before / "3.png")
    return before, after


def test_pictures_without_a_partner_are_left_out_and_named(tmp_path: Path) -> None:
    before, after = pairs(tmp_path)
    config = small_config(before, te_lr=0.0, slider_after=str(after))
    found = scan(dataset_config(config))
    assert [(item.path.name, item.after.path) for item in found.items] == [
        ("0.png", after / "0.png"), ("1.png", after / "1.png"),
    ]  # fmt: skip
    assert {(problem.path.name, problem.skipped) for problem in found.problems} == {("2.png", True), ("3.png", True)}


@pytest.fixture
def train(tiny_host: Any, tmp_path: Path) -> Any:
    """Train on the tiny model; the LoRA's tensors and the events."""
    torch.set_num_threads(1)
    pictures = image_folder(tmp_path / "set")
    before, after = pairs(tmp_path)
    store = RunStore(tiny_host.paths.runs)

    def run(name: str, stop: int = 0, **changes: Any) -> tuple[dict[str, Tensor], list[Any]]:
        folder = before if "slider_after" in changes else pictures
        config = small_config(folder, name=name, te_lr=0.0, epochs=1, unet_lr=1e-2, trigger="", **changes)
        made, events = store.create(config), []
        for first in (True, False)[: 2 if stop else 1]:
            with tiny_host.training_session() as model:
                trainer = Trainer(made, model, tiny_host.paths)
                for event in trainer.run():
                    events.append(event)
                    if first and stop and isinstance(event, StepDone) and event.step == stop:
                        trainer.requests.add("stop")
        return load_file(tiny_host.paths.loras / f"{name}.safetensors"), events

    run.after = str(after)  # type: ignore[attr-defined]
    return run


@pytest.mark.parametrize("kind", ["words", "pairs"])
def test_a_run_goes_on_to_the_bit_and_checkpointing_changes_nothing(train: Any, kind: str) -> None:
    changes = {"slider_after": train.after} if kind == "pairs" else {"slider_more": "hat", "slider_less": "hair"}
    whole, events = train("whole", **changes)
    assert isinstance(events[-1], Finished)
    assert all(event.fixed_loss > 0 for event in events if isinstance(event, EpochDone))
    parts, _ = train("parts", stop=1, **changes)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    again, _ = train("again", gradient_checkpointing=False, **changes)
    assert all(torch.allclose(whole[name].float(), again[name].float(), atol=2e-3) for name in whole)


def test_weight_0_is_the_checkpoint_and_both_ends_differ(train: Any, tiny_host: Any) -> None:
    train("slider", slider_more="hat", slider_less="hair", slider_strength=20.0)
    request = GenerationRequest("girl", width=64, height=64, steps=2, cfg=3.0, seed=1)
    network = load_network(tiny_host.paths.loras / "slider.safetensors")
    (plain,) = tiny_host.generate([request])
    less, none, more = tiny_host.generate([replace(request, weights=(w,)) for w in (-2.0, 0.0, 2.0)], (network,))
    (alone,) = tiny_host.generate([replace(request, weights=(0.0,))], (network,))
    assert alone.tobytes() == plain.tobytes()
    assert len({less.tobytes(), none.tobytes(), more.tobytes()}) == 3


def test_other_runs_have_the_plain_loss() -> None:
    assert type(denoiser_of(Talker("epsilon", Switch()), PLAIN)) is Denoiser  # type: ignore[arg-type]
