"""The cost of an adapter: a training step ÷ the same frozen U-Net's forward and input-gradient backward.

Ours, peft's and LyCORIS' adapters (rank 16, the same 192 layers) take turns in one process, each on its own copy of the
module tree over one set of weights, with the same loss, optimizer and clipping.
"""

from __future__ import annotations

import copy
import logging
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import NetworkSpec, select
from lib_lora.demo.architecture import MINIATURE
from lib_lora.hosts.standalone.shape import Shape, build_unet
from lib_lora.models.layers import kohya_key

RANK = 16
LORA = NetworkSpec(rank=RANK, alpha=RANK, train_text_encoder=False)


@dataclass(frozen=True)
class Size:
    """One measurement: which U-Net, on what, how often."""

    shape: Shape
    pixels: int
    batch: int
    rounds: int
    dtype: torch.dtype = torch.float32  # of the model; what is trained is in float32, under autocast where this is not


SIZES = {"mini": Size(MINIATURE, 128, 4, 15), "full": Size(Shape(), 256, 1, 5)}
SIZES |= {f"{name}.bf16": replace(size, dtype=torch.bfloat16) for name, size in SIZES.items()}

Step = Callable[[], None]


def run(sizes: Iterable[str] = tuple(SIZES), rounds: int | None = None) -> dict[str, float]:
    """Measure with the threads torch has now.

    Args:
        sizes: of :data:`SIZES`.
        rounds: how often each contender steps (None: as the size says); medians are reported.

    Returns:
        Per size: ``ratio_to_floor`` (ours ÷ floor), ``arithmetic`` (the same of the multiplications alone, below which
        no program comes that keeps the base's weights as they are), ``vs_peft`` and ``vs_lycoris`` (their seconds ÷
        ours), and the seconds of a step of each.
    """
    result: dict[str, float] = {"threads": torch.get_num_threads()}
    for name in sizes:
        steps = contenders(SIZES[name])
        seconds = medians(steps, rounds or SIZES[name].rounds)
        ours = seconds["ours"]
        figures = {
            "ratio_to_floor": ours / seconds["floor"],
            "arithmetic": flops(steps["ours"]) / flops(steps["floor"]),
            "vs_peft": seconds["peft"] / ours,
            "vs_lycoris": seconds["lycoris"] / ours,
            **{f"{contender}_seconds": value for contender, value in seconds.items()},
        }
        result |= {f"{name}.{key}": value for key, value in figures.items()}
    return result


def contenders(size: Size) -> dict[str, Step]:
    """A training step of each, and the floor."""
    torch.manual_seed(0)
    unet = build_unet(size.shape).requires_grad_(False).eval().to(size.dtype)
    batch = Batch.random(size)
    return {
        "floor": floor_step(unet, batch),
        "ours": our_step(shared_copy(unet), batch),
        "peft": peft_step(shared_copy(unet), batch),
        "lycoris": lycoris_step(shared_copy(unet), batch),
    }


def flops(step: Step) -> int:
    """Of its matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def clock() -> float:
    """Seconds; with one thread those of this process alone, so that other work on the machine does not count."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def medians(steps: Mapping[str, Step], rounds: int) -> dict[str, float]:
    """Median seconds of each step; they take turns, after one turn to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            start = clock()
            step()
            if turn:
                seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


@dataclass(frozen=True)
class Batch:
    """Random latents [B,4,h,w], timesteps [B], conditioning [B,77,D] and a target like the latents."""

    latents: Tensor
    t: Tensor
    cond: Tensor
    target: Tensor

    @classmethod
    def random(cls, size: Size) -> Batch:
        latents = torch.randn(size.batch, 4, size.pixels // 8, size.pixels // 8, dtype=size.dtype)
        cond = torch.randn(size.batch, 77, size.shape.text_width, dtype=size.dtype)
        return cls(latents, torch.randint(1000, (size.batch,)), cond, torch.randn_like(latents))

    def loss(self, unet: nn.Module, latents: Tensor) -> Tensor:
        half = latents.dtype != torch.float32
        with torch.autocast(latents.device.type, latents.dtype if half else torch.bfloat16, enabled=half):
            predicted = unet(latents, self.t, self.cond).sample
        return (predicted.float() - self.target.float()).square().mean()


def shared_copy(unet: nn.Module) -> nn.Module:
    """The module tree once more, over the same weights."""
    return copy.deepcopy(unet, {id(p): p for p in unet.parameters()})


def floor_step(unet: nn.Module, batch: Batch) -> Step:
    """Forward, and backward to the input: what any adapter has to pay."""
    latents = batch.latents.clone().requires_grad_()

    def step() -> None:
        batch.loss(unet, latents).backward()
        latents.grad = None

    return step


def our_step(unet: nn.Module, batch: Batch, spec: NetworkSpec = LORA) -> Step:
    layers = layers_of(unet)
    network = Network.create(layers, spec, seed=0)
    network.attach(layers)
    return train_step(unet, batch, network.parameters())


def peft_step(unet: nn.Module, batch: Batch) -> Step:
    from peft import LoraConfig, inject_adapter_in_model

    paths = {module: path for path, module in unet.named_modules()}
    targets = [paths[layer] for layer in adapted_layers(unet).values()]
    inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets), unet)
    return train_step(unet, batch, [p for name, p in unet.named_parameters() if "lora_" in name])


def lycoris_step(unet: nn.Module, batch: Batch) -> Step:
    from lycoris import LycorisNetwork, create_lycoris

    logging.getLogger("LyCORIS").setLevel(logging.WARNING)  # it tells every choice it makes; its import sets the level
    LycorisNetwork.apply_preset({"enable_conv": False, "target_module": ["Transformer2DModel"], "target_name": []})
    network = create_lycoris(unet, 1.0, linear_dim=RANK, linear_alpha=RANK, algo="lora")
    network.apply_to()
    if len(network.loras) != len(adapted_layers(unet)):
        raise RuntimeError(f"LyCORIS adapted {len(network.loras)} layers instead of {len(adapted_layers(unet))}")
    return train_step(unet, batch, list(network.parameters()))


def layers_of(unet: nn.Module) -> dict[str, nn.Module]:
    """Kohya key -> layer."""
    return {kohya_key("unet", path): m for path, m in unet.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))}


def adapted_layers(unet: nn.Module) -> dict[str, nn.Module]:
    """Those that a LoRA adapts."""
    return select(layers_of(unet), LORA)


def train_step(unet: nn.Module, batch: Batch, parameters: list[nn.Parameter]) -> Step:
    """Forward, backward, clipping and AdamW over ``parameters``."""
    for parameter in parameters:
        parameter.data = parameter.data.float()
    parameters = [p.requires_grad_() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    def step() -> None:
        batch.loss(unet, batch.latents).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step
