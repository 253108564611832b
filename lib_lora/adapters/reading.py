"""A LoRA file, judged by its header and read layer by layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from lib_lora.adapters import container
from lib_lora.adapters.base import ContradictionError
from lib_lora.adapters.container import Container, open_container
from lib_lora.adapters.finite import is_finite
from lib_lora.adapters.joined import join
from lib_lora.adapters.layers import NUMBERS, Layers, Params
from lib_lora.adapters.peft_config import PeftConfig, config_beside, configs_in
from lib_lora.adapters.recognition import Foreign, recognise
from lib_lora.adapters.settle import ALPHA, check_structure, settled, why_left_out
from lib_lora.adapters.spelling import Names, Spelled, layers_of
from lib_lora.errors import UserError
from lib_lora.models.families import families

_PARAM = re.compile(r"\.(?:lora|hada_|lokr_)[\w.]*$")  # from where on a dotted name is no module's path


@dataclass(frozen=True)
class Opened:
    """A file whose header was read and found good.

    Attributes:
        container: its tensors.
        spelled: which layer and parameter each of them is.
        configs: part of the model -> PEFT's settings for it, as far as there are any; ``""`` is every part.
        left_out: layers that do nothing -> why.
        outline: layer key -> parameter name -> tensor without memory, of the layers that act.
    """

    container: Container
    spelled: Spelled
    configs: Mapping[str, PeftConfig]
    left_out: dict[str, str] = field(default_factory=dict)
    outline: dict[str, Params] = field(default_factory=dict)

    def on_demand(self) -> Layers:
        """The layers; each is read when it is asked for."""
        return Layers(self.outline, lambda key: self._layer(key, self.container.read(self._names(key))))

    def at_once(self) -> dict[str, Params]:
        """All layers, read in one go."""
        tensors = self.container.read(name for key in self.outline for name in self._names(key))
        return {key: self._layer(key, tensors) for key in self.outline}

    def examine(self) -> None:
        """Fill ``outline`` and ``left_out``.

        Raises:
            UserError: a layer that acts cannot be read.
        """
        shapes = self.container.outline()
        numbers = [name for name, tensor in shapes.items() if tensor.numel() == 1]
        shapes |= self.container.read(numbers)
        sound: set[object] = set()  # a file has many layers of one form
        for key, parts in self.spelled.layers.items():
            try:
                if self.spelled.shares(key) != (1,):  # whether parts share a factor is told by its numbers
                    found = _without_memory(self._layer(key, self.container.read(self._names(key))))
                else:
                    found = self._settled(parts[0], shapes)
                why = why_left_out(found)
                if why is None and (form := _form(found)) not in sound:
                    check_structure(found)
                    sound.add(form)
            except ContradictionError as error:
                why = error.what
            except UserError as error:
                raise self._named(error, key) from error
            if why is None:
                self.outline[key] = found
            else:
                self.left_out[key] = why

    def _names(self, key: str) -> list[str]:
        return [name for names in self.spelled.layers[key].values() for name in names.values()]

    def _layer(self, key: str, tensors: Mapping[str, Tensor]) -> Params:
        """A layer in the form that algorithms read; its numbers are finite."""
        parts = self.spelled.layers[key]
        for names in parts.values():
            for name in names.values():
                if not is_finite(tensors[name]):
                    fix = "The training that made it failed, or it overflowed in half precision; use an earlier epoch."
                    raise UserError(f"{name} holds NaN or infinite values", where=self.container.path, fix=fix)
        shares = self.spelled.shares(key)
        if shares == (1,):
            return self._settled(parts[0], tensors)
        try:
            return join({part: self._settled(names, tensors) for part, names in parts.items()}, shares)
        except ContradictionError:
            raise
        except UserError as error:
            raise self._named(error, key) from error

    def _settled(self, names: Names, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        params = {param: tensors[name] for param, name in names.items()}
        if not self.configs or ALPHA in params:
            return settled(params)
        path = _PARAM.sub("", next(iter(names.values()))).removeprefix("base_model.model.")
        part, _, rest = path.partition(".")
        config = self.configs.get(part, self.configs.get(""))
        return settled(params, config, rest if part in _PARTS else path)

    def _named(self, error: UserError, key: str) -> UserError:
        fix = error.fix or container.FIX
        return UserError(f"{error.what} (layer {key})", where=error.where or self.container.path, fix=fix)


_PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")


def open_layers(path: Path) -> Opened:
    """Open and examine a file.

    Raises:
        UserError: naming the file, for one that is missing, damaged, no LoRA, or of an unknown algorithm.
    """
    found = open_container(path)
    shapes = {name: entry.shape for name, entry in found.entries.items()}
    kind = recognise(shapes, found.metadata) if shapes else None
    if isinstance(kind, Foreign):
        known = ", ".join(one.short for one in families().values())
        raise UserError(f"This is {kind.what}", where=path, fix=f"Choose a LoRA for one of {known}.")
    try:
        spelled = layers_of(shapes, found.metadata)
    except UserError as error:
        raise UserError(error.what, where=path, fix=error.fix) from error
    beside = config_beside(path)
    configs = configs_in(found.metadata, path)
    opened = Opened(found, spelled, configs or ({} if beside is None else {"": beside}))
    opened.examine()
    if not opened.outline:
        key, why = next(iter(opened.left_out.items()), ("", ""))
        more = f": {why} (layer {key})" if why else ""
        raise UserError(f"There is no LoRA in this file{more}", where=path, fix="Choose a LoRA file.")
    return opened


def _form(params: Params) -> tuple[object, ...]:
    """What a layer's structure is judged by."""
    return tuple((name, tensor.dtype, tensor.shape) for name, tensor in params.items())


def _without_memory(params: Params) -> dict[str, Tensor]:
    return {name: tensor if name in NUMBERS else tensor.to("meta") for name, tensor in params.items()}
