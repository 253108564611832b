"""A graphics card for machines that have none: tensors on it are computed on the CPU, by a card's rules.

Operands in two memories are refused. What makes the program wait for the card is noted: a value that is read, a tensor
that is copied out, and one copied in that is not said to be ``non_blocking``. Rules: PyTorch's "CUDA semantics", and
what ``torch.cuda.set_sync_debug_mode`` warns of. Not as on a card: a tensor's ``data`` cannot move to main memory,
autocast changes no type, and generators on the card are not there. Its memory is counted where :data:`memory` is
switched on: every storage once, as long as a tensor of it lives.

:func:`insert` changes PyTorch for the whole process, so only a process of its own should call it.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "card"
CARD = torch.device("privateuseone", 0)  # PyTorch's place for other makers' devices; called as above once it is there
aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default, aten._foreach_copy_.default}
READS = {
    aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.equal.default,
    aten.is_nonzero.default,
}  # fmt: skip
_waits: list[str] = []


@dataclass
class Memory:
    """What is on the card, in bytes, and at most was; above ``limit`` there is no room."""

    counting: bool = False
    used: int = 0
    peak: int = 0
    limit: float = math.inf
    _tensors: dict[int, int] = field(default_factory=dict)  # address of a storage -> tensors of it

    def add(self, tensor: OnCard) -> None:
        storage = tensor.host.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if address not in self._tensors:
            if self.used + size > self.limit:
                raise torch.OutOfMemoryError(f"{size} bytes more than the card holds, {self.used} of {self.limit}")
            self.used += size
            self.peak = max(self.peak, self.used)
        self._tensors[address] = self._tensors.get(address, 0) + 1
        weakref.finalize(tensor, self._drop, address, size)

    def _drop(self, address: int, size: int) -> None:
        self._tensors[address] -= 1
        if not self._tensors[address]:
            del self._tensors[address]
            self.used -= size


memory = Memory()


class OnCard(Tensor):
    """A tensor in the card's memory; ``host`` holds its numbers."""

    host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: Tensor) -> OnCard:
        shape = {"strides": host.stride(), "storage_offset": host.storage_offset(), "dtype": host.dtype}
        tensor = Tensor._make_wrapper_subclass(cls, host.size(), device=CARD, requires_grad=False, **shape)
        tensor.host = host
        if memory.counting and host.numel():
            memory.add(tensor)
        return tensor

    def tolist(self) -> Any:
        _waits.append(f"tolist {tuple(self.shape)}")
        return self.host.tolist()

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(operation, args, dict(kwargs or {}))


def waits() -> list[str]:
    """What the program waited for since the last call, in order."""
    found = _waits.copy()
    _waits.clear()
    return found


def _computed(operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    device = kwargs.get("device")
    to_card = device is None or torch.device(device).type == CARD.type
    _judge(operation, args, kwargs, to_card)
    if device is not None:
        kwargs["device"] = torch.device("cpu")
    result = operation(*tree_map(_numbers, args), **tree_map(_numbers, kwargs))
    if operation is aten.copy_.default:
        return args[0]
    here = {id(value.host): value for value in tree_flatten((args, kwargs))[0] if isinstance(value, OnCard)}
    return tree_map(lambda value: _placed(value, here), result) if to_card else result


def _numbers(value: Any) -> Any:
    return value.host if isinstance(value, OnCard) else value


def _placed(value: Any, here: dict[int, OnCard]) -> Any:
    """What an operation gives, on the card; what it changed in place stays the same tensor."""
    if not isinstance(value, Tensor):
        return value
    return here[id(value)] if id(value) in here else OnCard(value)


def _judge(operation: Any, args: tuple, kwargs: dict[str, Any], to_card: bool) -> None:
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    strangers = [t for t in tensors if not isinstance(t, OnCard) and t.ndim > 0]
    if operation in COPIES:
        leaves = not to_card or not isinstance(tensors[0], OnCard)
        if leaves or (strangers and not kwargs.get("non_blocking", args[2:3] == (True,))):
            _waits.append(f"{operation} {'out' if leaves else 'in'} {tuple(tensors[0].shape)}")
    elif strangers:
        raise RuntimeError(f"{operation}: tensors on {CARD} and in main memory, {[tuple(t.shape) for t in strangers]}")
    elif operation in READS or (operation is aten.index.Tensor and any(t.dtype == torch.bool for t in tensors[1:])):
        _waits.append(f"{operation} {tuple(tensors[0].shape)}")


def _empty(size: Any, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None,
           memory_format: Any = None) -> OnCard:  # fmt: skip
    return OnCard(torch.empty(size, dtype=dtype, memory_format=memory_format))


def _empty_strided(size: Any, stride: Any, dtype: Any = None, layout: Any = None, device: Any = None,
                   pin_memory: Any = None) -> OnCard:  # fmt: skip
    return OnCard(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Tensor, target: OnCard, non_blocking: bool = False) -> OnCard:
    """What ``torch.tensor(…, device=…)`` does."""
    _waits.append(f"torch.tensor {tuple(source.shape)}")
    target.host.copy_(source)
    return target


class _Module(_DummyBackendModule):
    """What ``torch.card`` offers beside torch's own minimum."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


@cache
def insert() -> tuple[torch.library.Library, ...]:
    """Have a card in this process from now on: what is registered for it, which works as long as it is kept."""
    _setup_privateuseone_for_python_backend(NAME, _Module())
    kernels, autocast = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")
    for name, kernel in (
        ("empty.memory_format", _empty),
        ("empty_strided", _empty_strided),
        ("_copy_from", _copy_from),
    ):
        kernels.impl(name, kernel, "PrivateUse1")
    autocast.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    return kernels, autocast
