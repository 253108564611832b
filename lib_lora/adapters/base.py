"""What every adapter algorithm states: its parameters, its initialisation and its formula."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib_lora.adapters.delta import Delta
from lib_lora.errors import UserError
from lib_lora.models.borrowed import autocasts
from lib_lora.models.weights import fetch_weight, weight_shape

if TYPE_CHECKING:
    from lib_lora.adapters.dropout import LayerDropout


@dataclass(frozen=True)
class LayerSpec:
    """How to make the adapter of one layer; each algorithm reads what it knows.

    Attributes:
        rank, alpha: ΔW is scaled by alpha / rank; alpha 0 means alpha = rank, as in kohya's trainer. For OFT and BOFT,
            rank is the largest block.
        tucker: a core for kernels larger than 1×1, between two 1×1 projections.
        factor: LoKr's size of the first Kronecker factor; -1 is as near as possible to the root of the width.
        decompose_both, full_matrix: LoKr's two factors of low rank; or none of them.
        constraint: OFT's bound of ‖Q‖, per output channel; 0 is none.
        bias: full: train the bias too.
    """

    rank: int = 4
    alpha: float = 0.0
    tucker: bool = False
    factor: int = -1
    decompose_both: bool = False
    full_matrix: bool = False
    constraint: float = 0.0
    bias: bool = False


class Adapter(nn.Module, ABC):
    """One adapted layer. Each algorithm is one file in ``algorithms/``, found by listing that folder.

    Attributes:
        algorithm: the name used in settings, e.g. ``"lora"``.
        param_names: names of its tensors in a file, after the layer's key and a dot.
        needs_base: whether ΔW depends on the weight that is adapted.
        label, place: its name for the user, and where it stands in a list of choices.
        options: the fields of :class:`LayerSpec` that it reads.
        chosen: whether a user may choose it; else it comes with another.
        wrappable: whether DoRA may be put around it.
        multiplies: whether its input goes into nothing but matrix products and convolutions.
        lycoris: LyCORIS' name for it, where that is another.
        elsewhere: program -> what it does with such layers instead of the same as here; "" is that it leaves them out.
        weight_shape: shape of the adapted weight, [n], [o, i] or [o, i, kh, kw].
        rank, scale: ΔW is scaled by ``scale``, alpha / ``rank``; every wrappable one has them.
        scaled_param: the tensor that takes the scale in where it is to be 1; every wrappable one has it.
    """

    algorithm: ClassVar[str]
    param_names: ClassVar[tuple[str, ...]]
    needs_base: ClassVar[bool] = False
    label: ClassVar[str]
    place: ClassVar[int] = 100
    options: ClassVar[tuple[str, ...]] = ("rank", "alpha")
    chosen: ClassVar[bool] = True
    wrappable: ClassVar[bool] = False
    multiplies: ClassVar[bool] = False
    lycoris: ClassVar[str] = ""
    elsewhere: ClassVar[Mapping[str, str]] = MappingProxyType({})
    weight_shape: torch.Size
    rank: int
    scale: float
    scaled_param: str

    @classmethod
    def reads(cls, tensors: Mapping[str, Tensor]) -> bool:
        """Whether tensors of these names (and, where names are shared, of these shapes) belong to this algorithm."""
        names = set(tensors)
        return names <= set(cls.param_names) and names != {"alpha"}

    @classmethod
    @abstractmethod
    def create(
        cls,
        layer_shape: torch.Size,
        spec: LayerSpec,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Adapter:
        """A fresh adapter whose ΔW is zero, for a weight of ``layer_shape``."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Adapter:
        """The adapter stored under one layer of a file.

        Where the tensors only tell the size of a kernel's matrix, the weight stays a matrix until :meth:`fit`.

        Args:
            tensors: by ``param_names``.

        Raises:
            UserError: when tensors are missing or do not fit together.
        """

    @abstractmethod
    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """What a file stores, by ``param_names``: detached copies on the CPU, in ``dtype`` (None: as they are)."""

    @abstractmethod
    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        """ΔW·x by the cheapest path, with the change of the bias where there is one.

        Args:
            layer: gives a convolution's stride, padding and dilation, and the base weight.
        """

    @abstractmethod
    def delta(self, base: Tensor | None = None) -> Delta:
        """ΔW with the adapter's own scale, detached, at least float32.

        Args:
            base: the adapted weight, for algorithms that need it (:attr:`needs_base`).
        """

    def fit(self, weight_shape: torch.Size) -> None:
        """Take the form of the live weight: a 1×1 convolution may be stored as a matrix, and the other way round.

        Raises:
            UserError: when the sizes differ.
        """
        if weight_shape == self.weight_shape:
            return
        if not self.fits(weight_shape):
            raise misfit(self.weight_shape, weight_shape)
        self.reshape(torch.Size(weight_shape))
        self.weight_shape = torch.Size(weight_shape)

    def fits(self, weight_shape: torch.Size) -> bool:
        """Whether :meth:`fit` can take this form."""
        return same_matrix(self.weight_shape, weight_shape)

    def reshape(self, weight_shape: torch.Size) -> None:
        """Give the parameters the form that goes with ``weight_shape``; nothing to do where they are matrices."""

    @property
    def dtype(self) -> torch.dtype:
        """That of its parameters."""
        return next(self.parameters()).dtype

    def taken(self, x: Tensor) -> Tensor:
        """``x`` in the adapter's type, or as it is where the products that it goes into cast it by themselves."""
        return x if self.multiplies and autocasts(x) else x.to(self.dtype)

    def add_delta(
        self, out: Tensor, x: Tensor, layer: nn.Module, weight: float | Tensor, dropout: LayerDropout | None = None
    ) -> Tensor:
        """``out + weight·ΔW·x`` in ``out``'s dtype.

        Args:
            out: what the layer returned, [B, …].
            x: what the layer was given.
            weight: one number, or [B] for a weight per sample.
            dropout: what to drop in this step; None outside of training.
        """
        delta = self.forward_delta(self.taken(x), layer)
        if dropout is not None:
            delta = dropout(delta, channel_axis(layer))
        if isinstance(weight, Tensor):
            delta = delta * per_sample(weight, delta)
            return out + delta.to(out.dtype)
        return torch.add(out, delta.to(out.dtype), alpha=weight)


def apply_weight(x: Tensor, weight: Tensor, layer: nn.Module, bias: Tensor | None = None) -> Tensor:
    """``weight``·x in the way of ``layer``: a linear layer for a matrix, else a convolution with its stride etc."""
    if weight.ndim == 2:
        return F.linear(x, weight, bias)
    conv = cast(nn.Conv2d, layer)  # or what a web UI has in its place
    return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation)


def channel_axis(layer: nn.Module) -> int:
    """The axis of a layer's input and output that counts channels."""
    return 1 if len(weight_shape(layer)) == 4 else -1


def base_of(layer: nn.Module, x: Tensor) -> Tensor:
    """The weight of ``layer``, without gradient, in the type and on the device of its input ``x``."""
    return fetch_weight(layer, x.dtype, x.device)


def at_least_float32(tensor: Tensor, scale: float = 1.0) -> Tensor:
    """``scale`` times ``tensor``, detached; what is narrower than float32 is widened before."""
    wide = tensor.detach().to(wide_type(tensor.dtype))
    if scale == 1:
        return wide
    return wide * scale if wide.dtype == tensor.dtype else wide.mul_(scale)


def wide_type(dtype: torch.dtype) -> torch.dtype:
    """float32, or float64 where that is given; torch itself does not promote 8-bit floats."""
    return dtype if dtype == torch.float64 else torch.float32


def required_base(base: Tensor | None, algorithm: str) -> Tensor:
    """``base``, or a UserError that names the algorithm that cannot do without."""
    if base is None:
        raise UserError(
            f"What a {algorithm} layer does depends on the checkpoint it acts on",
            where="base model",
            fix="Name the checkpoint that this adapter is for, or load it.",
        )
    return at_least_float32(base)


def per_sample(weight: Tensor, like: Tensor) -> Tensor:
    """``weight`` [B] shaped [B, 1, …] to broadcast over ``like`` [B, …]."""
    if weight.shape != like.shape[:1]:
        raise ValueError(f"{tuple(weight.shape)} weights for a batch of {like.shape[0]}")
    return weight.to(like).view(-1, *[1] * (like.ndim - 1))


def misfit(adapter_shape: torch.Size, weight_shape: torch.Size) -> UserError:
    """The error for an adapter made for another weight."""
    return UserError(
        f"The LoRA was made for a layer of shape {list(adapter_shape)}, the model has {list(weight_shape)}",
        fix="Load a checkpoint of the family the LoRA was trained on.",
    )


def same_matrix(a: torch.Size, b: torch.Size) -> bool:
    """Whether two weights have equally many rows and columns, whatever the kernel."""
    return a[0] == b[0] and math.prod(a[1:]) == math.prod(b[1:])


class ContradictionError(UserError):
    """Tensors of one layer that make no matrix together, so that no program applies the layer."""


def missing(tensors: Mapping[str, Tensor], *names: str) -> None:
    """Raise a :class:`ContradictionError` when one of ``names`` is not among ``tensors``."""
    if absent := [name for name in names if name not in tensors]:
        raise ContradictionError(f"{' and '.join(absent)} is missing")


def unfit(kind: str, tensors: Mapping[str, Tensor]) -> ContradictionError:
    """The error for tensors of one layer whose shapes contradict each other."""
    shapes = " and ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
    return ContradictionError(f"The {kind} tensors {shapes} do not fit together")


def alpha_of(tensors: Mapping[str, Tensor], rank: float) -> float:
    """The alpha of a file; ``rank`` where it is absent. 0 is 0, as in every web UI: the layer does nothing."""
    alpha = tensors.get("alpha")
    if alpha is None:
        return float(rank)
    if alpha.numel() != 1:
        raise UserError(f"alpha should be one number, not {list(alpha.shape)}")
    return float(alpha.item())


def stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A detached copy for a file, on the CPU; a tensor without memory stays one."""
    if tensor.is_meta:
        return tensor.detach().to(dtype or tensor.dtype)
    return tensor.detach().to("cpu", dtype, copy=True).contiguous()
