"""Which training pictures did this: the influence of each on what is wrong in a generated picture.

A step on training picture z moves the weights along −∇L(z), and with that the loss of another picture z' by
−η·∇L(z)·∇L(z') to first order. Summed over saved epochs that is the influence of z on z' (TracIn: Pruthi et al.,
"Estimating Training Data Influence by Tracing Gradient Descent", 2020). The gradients are those of the LoRA's
parameters, of the run's own loss, with the same noise and timesteps for all pictures.

Two pictures of one subject share most of their gradients, so that what is wrong in one is seen by comparing it with
pictures that are right: what counts is the influence on the wrong ones less that on the right ones. A picture that
teaches something else than the set, as one with a wrong caption does, is also seen without any generated picture: its
gradient points elsewhere than the others' (stiffness: Fort et al., "Stiffness: A New Perspective on Generalization in
Neural Networks", 2019). That says more, so the score is the second and a part of the first, in cosines: lengths say how
noisy a timestep is and how hard a picture, and little about what it teaches (Xie et al., "Data Attribution for
Diffusion Models: Timestep-induced Bias in Influence Estimation", 2024). They are taken where the noise hides nearly all
of the picture, as what is drawn is decided there and only how finely at the others, and in the last blocks alone:
colours and clothes are decided in these, and what the others have in common with them they have in common with poses
and places too.

Instead of gradients, which are as long as the LoRA, their sketches are kept: folded with random signs onto
:data:`SKETCH` numbers, which keeps inner products up to 1/√SKETCH of the lengths' product (Alon, Matias and Szegedy,
"The space complexity of approximating the frequency moments", 1999).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from lib_lora.adapters.network import Network
from lib_lora.dataset.batches import MicroBatch
from lib_lora.errors import UserError
from lib_lora.models.transfer import sent
from lib_lora.randomness import torch_generator
from lib_lora.tools.mixture import Measuring
from lib_lora.training.noise import NoiseDraw
from lib_lora.training.revisit import Revisit, each_picture
from lib_lora.training.timesteps import spread_timesteps

SKETCH = 16384  # numbers that a gradient is folded onto
TIMESTEPS = 8
SEED = 1  # of noise and signs
LAST = 4  # one block in so many is asked: the last ones
POINTED = 0.3  # what the generated pictures count beside what the training pictures say of each other
TINY = 1e-30


@dataclass(frozen=True)
class Shown:
    """A generated picture, with the words that it was asked for by."""

    image: Image.Image
    prompt: str


def read_picture(path: Path) -> Image.Image:
    """A picture file; UserError where it is none."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError("This picture cannot be read", where=path, fix="Give a PNG or JPEG file") from error


@dataclass(frozen=True)
class Influence:
    """Of a training picture. ``score``: in standard deviations from the mean of the set; the higher, the likelier that
    it taught what is wrong."""

    picture: Path
    caption: str
    score: float


def influences(
    run: Revisit, wrong: Sequence[Shown], right: Sequence[Shown] = ()
) -> Generator[Measuring, None, list[Influence]]:
    """Of all trained pictures on what is wrong, the strongest first; the run's epochs are attached.

    Args:
        wrong: one picture, or several with the same fault.
        right: pictures without it, best with the same prompts; without any, training pictures stand for them.
    """
    items = each_picture(run)
    learned = [items.batch(step) for step in range(items.steps_per_epoch)]
    shown = [_batch(run, one) for one in (*wrong, *right)]
    levels = _levels(run)
    done, total = 0, len(run.epochs) * len(levels) * (len(learned) + len(shown))
    scores = np.zeros(len(learned))
    for epoch, network in run.epochs.items():
        run.weigh({epoch: 1.0})
        asked = last_blocks(network)
        sketch = Sketch(sum(p.numel() for p in asked))
        for level in levels:
            sketches = []
            for batch in (*learned, *shown):
                sketches.append(sketch.of(gradient(run, asked, batch, level)))
                done += 1
                yield Measuring(done, total, f"epoch {epoch}")
            trained, seen = torch.stack(sketches[: len(learned)]), torch.stack(sketches[len(learned) :])
            scores += suspicion(trained, seen[: len(wrong)], seen[len(wrong) :]).numpy()
    scores = (scores - scores.mean()) / max(scores.std(), TINY)
    draws = [batch.draws[0] for batch in learned]
    found = [Influence(d.item.path, d.caption, float(score)) for d, score in zip(draws, scores, strict=True)]
    return sorted(found, key=lambda one: -one.score)


def suspicion(learned: Tensor, wrong: Tensor, right: Tensor) -> Tensor:
    """How little a picture teaches like the other pictures and, times :data:`POINTED`, how much more like what is wrong
    than like what is right: mean cosines of gradients. [N]

    Args:
        learned: gradients of training pictures [N, d].
        wrong, right: of generated pictures, [M, d] each; without any that are right, the other training pictures stand
            for them.
    """
    learned, wrong, right = (F.normalize(rows, dim=1, eps=TINY) for rows in (learned, wrong, right))
    others = (learned @ learned.sum(dim=0) - learned.square().sum(dim=1)) / max(len(learned) - 1, 1)
    like_right = learned @ right.mean(dim=0) if len(right) else others
    return POINTED * (learned @ wrong.mean(dim=0) - like_right) - others


def last_blocks(network: Network) -> list[nn.Parameter]:
    """Parameters of the last of the blocks that a network has; all where its family is not known."""
    if not network.families:
        return network.parameters()
    blocks = network.families[0].blocks
    block_of = {key: blocks.of(key) for key in network.adapters}
    present = [name for name in blocks.names if name in block_of.values()]
    if not present:
        return network.parameters()
    last = present[-max(1, len(present) // LAST) :]
    return [p for key, adapter in network.adapters.items() if block_of[key] in last for p in adapter.parameters()]


def gradient(run: Revisit, parameters: Sequence[nn.Parameter], batch: MicroBatch, level: int) -> list[Tensor]:
    """Of the loss of one picture at a timestep; one tensor for each of ``parameters``, 0 where none flows."""
    batch = batch.on(run.model.device)
    generator = torch_generator(SEED, "influence", level)
    noise = sent(torch.randn(batch.latents.shape, generator=generator), run.model.device)
    t = sent(torch.full((len(batch),), level), run.model.device)
    loss = run.denoiser.loss(batch, NoiseDraw(t, noise, noise)).sum()
    found = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def _levels(run: Revisit) -> list[int]:
    """Timesteps spread over the noisiest fifth of the schedule, as far as it was trained."""
    low, high = run.config.min_timestep, min(run.config.max_timestep, run.denoiser.steps)
    start = max(low, high - run.denoiser.steps // 5)
    return [start + level for level in spread_timesteps(TIMESTEPS, high - start)]


class Sketch:
    """Folds gradients of ``count`` numbers onto :data:`SKETCH` each, with the same signs every time."""

    def __init__(self, count: int):
        generator = torch_generator(SEED, "sketch", count)
        self.signs = torch.randint(0, 2, (count,), generator=generator, dtype=torch.int8) * 2 - 1

    def of(self, gradients: Sequence[Tensor]) -> Tensor:
        """[SKETCH], float32, in main memory."""
        whole = torch.cat([part.detach().float().flatten() for part in gradients]).cpu() * self.signs
        return F.pad(whole, (0, -len(whole) % SKETCH)).view(-1, SKETCH).sum(dim=0)


def _batch(run: Revisit, shown: Shown) -> MicroBatch:
    pixels = np.asarray(shown.image.convert("RGB"), dtype=np.float32) / 127.5 - 1
    encoded = run.model.encode_images(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    width, height = shown.image.size
    return MicroBatch(
        encoded.float().cpu(), [shown.prompt], [], torch.ones(1), torch.tensor([[height, width, 0, 0, height, width]])
    )
