"""A set of adapters that acts on live modules through forward hooks and leaves no trace."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from lib_lora.adapters.base import Adapter
from lib_lora.adapters.blocks import BlockWeights
from lib_lora.adapters.build import adapter_from, new_adapter
from lib_lora.adapters.carried import carried_keys, is_carried
from lib_lora.adapters.dropout import Dropout, LayerDropout
from lib_lora.adapters.file import LoraFile, join_keys, read_lora
from lib_lora.adapters.recognition import candidates, together
from lib_lora.adapters.selection import NetworkSpec, part_of, select
from lib_lora.errors import UserError
from lib_lora.models.family import Family
from lib_lora.models.weights import computing_device, weight_shape


@dataclass
class AttachReport:
    """What fitted: adapter keys that found their layer, adapter keys without one, and layers without an adapter."""

    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


class Network:
    """Adapters by layer key, with one switch and one multiplier. Several networks on one model add up.

    Attributes:
        adapters: kohya key -> adapter.
        name: of its file, for the text of pictures; empty for a network that has none.
        lbw: its block weights as the text of pictures has them, for the Block Weight extension; empty for none.
        enabled: False costs nothing and changes nothing.
        multiplier: a number, or a tensor [B] that gives each sample of the batch its own weight. The batch is the one
            that reaches the layers: with classifier-free guidance the caller repeats the weights accordingly.
        dropout: rates, which act within :meth:`dropping` only.
        families: that it may be for, the likeliest first; empty where its layers are of none that is known.
    """

    def __init__(self, adapters: Mapping[str, Adapter], name: str = "", families: Sequence[Family] | None = None):
        self.adapters = dict(adapters)
        self.families = tuple(candidates(dict.fromkeys(adapters, (0, 0))) if families is None else families)
        self.name = name
        self.lbw = ""
        self.enabled = True
        self.multiplier: float | Tensor = 1.0
        self._layer_scales = dict.fromkeys(self.adapters, 1.0)
        self.dropout = Dropout()
        self._draw: tuple[int, int, Tensor | None] | None = None
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    @classmethod
    def create(
        cls, layers: Mapping[str, nn.Module], spec: NetworkSpec, seed: int, dtype: torch.dtype = torch.float32
    ) -> Network:
        """Fresh adapters with ΔW = 0 for the layers that ``spec`` selects, on the layers' devices.

        Each layer's initial values depend on ``seed`` and its key only, not on the other layers.
        """
        chosen = select(layers, spec).items()
        adapters = {key: new_adapter(key, layer, spec, _generator(seed, key), dtype) for key, layer in chosen}
        network = cls(adapters, families=_families_of(layers))
        network.dropout = spec.dropout
        return network

    @classmethod
    def from_modules(
        cls, modules: Mapping[str, Mapping[str, Tensor]], name: str = "", families: Sequence[Family] | None = None
    ) -> Network:
        """Adapters from a file's tensors: layer key -> parameter name -> tensor."""
        return cls({key: adapter_from(tensors) for key, tensors in modules.items()}, name, families)

    @classmethod
    def from_file(cls, file: str | Path | LoraFile) -> Network:
        """Adapters of a LoRA file, with its name. Errors as :func:`lib_lora.adapters.file.read_lora`."""
        file = file if isinstance(file, LoraFile) else read_lora(file)
        return cls.from_modules(file.modules, file.name, file.families)

    def attach(self, layers: Mapping[str, nn.Module]) -> AttachReport:
        """Act on ``layers`` (kohya key -> live module) until :meth:`detach`; adapters move to where the layers compute.

        Those of a half-precision file are widened where a layer is in float32, which would lose its precision to
        them, and on a CPU, whose half-precision products take many times as long.

        All or nothing: after any exception no layer has a hook, and the adapters are where they were.

        Raises:
            UserError: when the model is of another family, a layer has another shape, or no layer fits at all.
        """
        if self._handles:
            raise RuntimeError("the network is attached already")
        models = _families_of(layers)
        together(
            [(f"{self.name or 'The LoRA'} is for", self.families), ("the loaded model is", models)],
            f"Load a checkpoint of {self.families[0].label if self.families else 'its family'}, or choose another LoRA",
        )
        self._carry_over(models)
        report = AttachReport(
            matched=[key for key in self.adapters if key in layers],
            missing=[key for key in self.adapters if key not in layers],
            unused=[key for key in layers if key not in self.adapters],
        )
        if not report.matched:
            raise UserError(
                "None of the LoRA's layers exist in the loaded model",
                where=next(iter(self.adapters), "an empty LoRA"),
                fix="Load a checkpoint of the family the LoRA was trained on.",
            )
        moved: list[tuple[Adapter, torch.device]] = []
        try:
            for key in report.matched:
                self.adapters[key].fit(weight_shape(layers[key]))
            for key in report.matched:
                adapter = self.adapters[key]
                moved.append((adapter, next(adapter.parameters()).device))
                device = computing_device(layers[key])
                adapter.to(device)
                if _is_to_be_widened(adapter, layers[key], device):
                    adapter.float()
                self._handles.append(layers[key].register_forward_hook(_Hook(self, key)))
        except BaseException:  # out of memory, Ctrl-C: whatever it is, the model is the host's
            self.detach()
            for adapter, home in moved:
                adapter.to(home)
            raise
        return report

    def _carry_over(self, models: Sequence[Family]) -> None:
        """Let each block of a larger model use the adapters of the block that it was made of."""
        names = carried_keys(self.adapters, models[0]) if models and models[0] not in self.families[:1] else {}
        if is_carried(names):
            self.adapters = {ours: self.adapters[theirs] for ours, theirs in names.items()}
            self._layer_scales = {ours: self._layer_scales[theirs] for ours, theirs in names.items()}
            self.families = (models[0],)

    def detach(self) -> None:
        """Take the hooks off; the modules are as they were. Does nothing when not attached."""
        while self._handles:
            self._handles.pop().remove()

    @contextmanager
    def attached_to(self, layers: Mapping[str, nn.Module]) -> Iterator[AttachReport]:
        """:meth:`attach` for the length of a ``with`` block."""
        report = self.attach(layers)
        try:
            yield report
        finally:
            self.detach()

    @contextmanager
    def dropping(self, seed: int, step: int, levels: Tensor | None = None) -> Iterator[None]:
        """Dropout for the length of a ``with`` block, forward and backward: what is dropped depends on (seed, step).

        Args:
            levels: noise levels [B] of the samples, 0 to 1, for what depends on them; None: nothing does.
        """
        self._draw = (seed, step, levels) if self.dropout else None
        try:
            yield
        finally:
            self._draw = None

    def set_block_weights(self, weights: Sequence[float] | Mapping[str, float] | None) -> None:
        """Scale each layer by the weight of its block; None sets all to 1. See :class:`BlockWeights`."""
        of = self.families[0] if self.families else None
        by_block = None if weights is None else BlockWeights.read(weights, of)
        self._layer_scales = {key: 1.0 if by_block is None else by_block.of(key) for key in self.adapters}

    def layer_scale(self, key: str) -> float:
        """The block weight of layer ``key``."""
        return self._layer_scales[key]

    def parameters(self, part: str | None = None) -> list[nn.Parameter]:
        """The trainable parameters of ``"unet"``, ``"te"`` or (None) both, in the order of ``adapters``."""
        chosen = (a for key, a in self.adapters.items() if part is None or part_of(key) == part)
        return [p for adapter in chosen for p in adapter.parameters()]

    def modules(self, dtype: torch.dtype | None = None) -> dict[str, dict[str, Tensor]]:
        """What a file stores: layer key -> parameter name -> tensor, on the CPU, in ``dtype`` (None: unchanged)."""
        return {key: adapter.tensors(dtype) for key, adapter in self.adapters.items()}

    def state_tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """:meth:`modules` with flat names, ``key.parameter``."""
        return join_keys(self.modules(dtype))


class _Hook:
    """The forward hook of one layer; kept small, because it runs hundreds of times per step."""

    __slots__ = ("adapter", "key", "network")

    def __init__(self, network: Network, key: str):
        self.network = network
        self.adapter = network.adapters[key]
        self.key = key

    def __call__(self, layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor | None:
        network = self.network
        scale = network._layer_scales[self.key]
        if not network.enabled or scale == 0:
            return None
        weight = network.multiplier
        if isinstance(weight, Tensor):
            weight = weight * scale
        else:
            weight *= scale
            if weight == 0:
                return None
        if network._draw is None:
            return self.adapter.add_delta(out, args[0], layer, weight)
        seed, step, levels = network._draw
        dropout = LayerDropout(network.dropout, seed, step, self.key, levels if part_of(self.key) == "unet" else None)
        return None if dropout.drops_layer() else self.adapter.add_delta(out, args[0], layer, weight, dropout)


def _is_to_be_widened(adapter: Adapter, layer: nn.Module, device: torch.device) -> bool:
    narrow = torch.finfo(adapter.dtype).bits < 32
    return narrow and (device.type == "cpu" or layer.weight.dtype == torch.float32)


def _families_of(layers: Mapping[str, nn.Module]) -> tuple[Family, ...]:
    """That a live model may be of."""
    sizes = {key: weight_shape(layer)[:2] for key, layer in layers.items() if layer.weight is not None}
    return candidates({key: (size[0], size[1]) if len(size) == 2 else (0, 0) for key, size in sizes.items()})


def _generator(seed: int, key: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
