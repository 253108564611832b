"""What every adapter algorithm states: its parameters, its initialisation and its formula."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from lib_lora.adapters.delta import Delta
from lib_lora.errors import UserError


class Adapter(nn.Module, ABC):
    """One adapted layer. Each algorithm is one file in ``algorithms/``, found by listing that folder.

    Attributes:
        algorithm: the name used in settings, e.g. ``"lora"``.
        param_names: names of its tensors in a file, after the layer's key and a dot.
        weight_shape: shape of the adapted weight, [o, i] or [o, i, kh, kw].
    """

    algorithm: ClassVar[str]
    param_names: ClassVar[tuple[str, ...]]
    weight_shape: torch.Size

    @classmethod
    @abstractmethod
    def create(
        cls,
        layer_shape: torch.Size,
        *,
        rank: int,
        alpha: float,
        conv_rank: int | None = None,
        conv_alpha: float | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Adapter:
        """A fresh adapter whose ΔW is zero, for a weight of ``layer_shape``.

        ``conv_rank`` and ``conv_alpha`` replace ``rank`` and ``alpha`` for kernels larger than 1×1.
        """

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], weight_shape: torch.Size | None = None) -> Adapter:
        """The adapter stored under one layer of a file.

        Args:
            tensors: by ``param_names``.
            weight_shape: of the adapted weight; read from the tensors when None.

        Raises:
            UserError: when tensors are missing or do not fit together.
        """

    @abstractmethod
    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """What a file stores, by ``param_names``: detached copies on the CPU, in ``dtype`` (None: as they are)."""

    @abstractmethod
    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        """ΔW·x, without bias, by the cheapest path; ``layer`` gives a convolution's stride, padding and dilation."""

    @abstractmethod
    def delta(self) -> Delta:
        """ΔW with the adapter's own scale, detached, at least float32."""

    @abstractmethod
    def fit(self, weight_shape: torch.Size) -> None:
        """Take the form of the live weight: a 1×1 convolution may be stored as a matrix, and the other way round.

        Raises:
            UserError: when the sizes differ.
        """

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def add_delta(self, out: Tensor, x: Tensor, layer: nn.Module, weight: float | Tensor) -> Tensor:
        """``out + weight·ΔW·x`` in ``out``'s dtype.

        Args:
            out: what the layer returned, [B, …].
            x: what the layer was given.
            weight: one number, or [B] for a weight per sample.
        """
        delta = self.forward_delta(x.to(self.dtype), layer)
        if isinstance(weight, Tensor):
            delta = delta * per_sample(weight, delta)
            return out + delta.to(out.dtype)
        return torch.add(out, delta.to(out.dtype), alpha=weight)


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
