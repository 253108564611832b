"""Several processes that train one network: each takes its share of every batch, and gradients are summed.

All see the same data, noise and weights, so the result is that of one process up to rounding: kernels sum in another
order for another number of samples. Where one process takes a batch in two parts (``batch_parts``), as two processes
do, not even that differs. The first process writes the files. Started by ``accelerate launch`` or ``torchrun``, which
tell each process its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

PATIENCE = timedelta(hours=3)  # the others wait while the first one encodes images or draws samples


@dataclass(frozen=True)
class Parallel:
    """This process's place among ``world``; alone by default."""

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Which of ``count`` samples are this process's; neighbours, of numbers that differ by one at most."""
        return slice(self.rank * count // self.world, (self.rank + 1) * count // self.world)

    def parts(self, count: int) -> list[Parallel]:
        """Those of the ``count`` parts of a batch, or of one part for each process, that are this process's."""
        total = max(count, self.world)
        return [Parallel(part, total) for part in range(total)[self.share(total)]]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type by their sums over all processes, in one message."""
        if self.world == 1:
            return
        message = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(message)
        for tensor, total in zip(tensors, torch.split(message, [t.numel() for t in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def add_up_gradients(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> None:
        """Replace the gradients and ``loss`` by their sums over all processes; one without a sample has no gradient."""
        if self.world == 1:
            return
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        self.add_up([*(p.grad for p in parameters if p.grad is not None), loss])

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.world > 1:
            dist.barrier()

    def told(self, value: Any) -> Any:
        """The first process's ``value``, in all of them."""
        if self.world == 1:
            return value
        message = [value]
        dist.broadcast_object_list(message)
        return message[0]


ALONE = Parallel()


@contextmanager
def joined() -> Iterator[Parallel]:
    """Meet the other processes that the launcher has started, if any; NCCL on graphics cards, else Gloo."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield ALONE
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    try:
        yield Parallel(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()
