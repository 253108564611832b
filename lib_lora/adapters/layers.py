"""Layers that are made one by one, when they are asked for: what a large file or merge has without being in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from torch import Tensor

Params = Mapping[str, Tensor]
NUMBERS = ("alpha", "scalar", "on_input")  # one number each, on which no shape depends; outlines have some number there


class Layers(Mapping[str, Params]):
    """Layer key -> parameter name -> tensor; every access makes the layer anew, and nothing is kept.

    Args:
        outline: the same with tensors on torch's meta device, which have a type and a shape and no memory.
        make: the layer of a key.
    """

    def __init__(self, outline: Mapping[str, Params], make: Callable[[str], Params]):
        self.outline = outline
        self._make = make

    def __getitem__(self, key: str) -> Params:
        if key not in self.outline:
            raise KeyError(key)
        return self._make(key)

    def __contains__(self, key: object) -> bool:
        return key in self.outline

    def __iter__(self) -> Iterator[str]:
        return iter(self.outline)

    def __len__(self) -> int:
        return len(self.outline)


def outline(modules: Mapping[str, Params]) -> Mapping[str, Params]:
    """The layers' types and shapes, at no cost: for whoever does not look at the numbers."""
    return modules.outline if isinstance(modules, Layers) else modules
