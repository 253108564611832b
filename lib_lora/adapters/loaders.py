"""Which programs apply which kinds of adapters, so that nobody trains a file that does nothing where it is to be used.

A1111's Lora extension and Forge's patcher were measured (docs/hosts.md), but for normalisation layers; the rest is from
the sources of Forge, sd-scripts (``networks.lora``) and diffusers (``load_lora_weights``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from lib_lora.adapters.algorithms import algorithm_for
from lib_lora.adapters.dora import SCALE
from lib_lora.adapters.selection import NetworkSpec
from lib_lora.models.family import Family

KINDS = {
    "lora": "LoRA", "tucker": "Tucker cores", "loha": "LoHa", "lokr": "LoKr", "full": "full differences",
    "norm": "normalisation layers", "dora": "the magnitudes of DoRA", "glora": "GLoRA", "ia3": "IA3", "oft": "OFT",
    "boft": "BOFT",
}  # fmt: skip
CORES = frozenset(("lora_mid.weight", "hada_t1", "hada_t2", "lokr_t2"))


@dataclass(frozen=True)
class Loader:
    """A program that reads LoRA files.

    Args:
        name: of the program.
        unread: the kinds that have no effect there, or are refused.
        otherwise: kind -> what it does instead of the same as here.
    """

    name: str
    unread: frozenset[str] = frozenset()
    otherwise: Mapping[str, str] = field(default_factory=dict)

    def limits(self, kinds: Iterable[str]) -> Iterator[str]:
        """Sentences about those of ``kinds`` that it does not apply as they were trained; none when all is well."""
        here = [kind for kind in KINDS if kind in set(kinds)]
        if unread := [KINDS[kind] for kind in here if kind in self.unread]:
            yield f"{self.name} does not apply {', '.join(unread)}"
        yield from (f"{self.name} {self.otherwise[kind]}" for kind in here if kind in self.otherwise)


WEB_UIS = (
    Loader(
        "AUTOMATIC1111",
        otherwise={
            "glora": "fails on GLoRA, whose matrices it multiplies in another order",
            "ia3": "fails on the convolutions of IA3, to which proj_in and proj_out belong",
        },
    ),
    Loader("Forge", frozenset(("ia3", "oft", "boft"))),
)
READ_LORA_ONLY = "sd-scripts and diffusers"


def read_by(family: Family) -> str:
    """Which programs run a family and read its files, as a sentence."""
    *most, last = family.programs
    named = f"{', '.join(most)} and {last}" if most else last
    return f"A LoRA for {family.label}: {named} read it under these names of layers"


def limits(kinds: Iterable[str]) -> list[str]:
    """What each of :data:`WEB_UIS` does not do with a file of these kinds; a reason to train another kind."""
    kinds = frozenset(kinds)
    return [sentence for loader in WEB_UIS for sentence in loader.limits(kinds)]


def limits_elsewhere(kinds: Iterable[str]) -> str:
    """What programs that are no web UI do not apply, as one sentence; empty for plain LoRA. Good to know, no fault."""
    named = ", ".join(KINDS[kind] for kind in KINDS if kind in set(kinds) - {"lora"})
    return f"{READ_LORA_ONLY} do not apply {named}" if named else ""


def kinds_of(modules: Mapping[str, Mapping[str, Tensor]]) -> set[str]:
    """The kinds in a file's layers: layer key -> parameter name -> tensor."""
    kinds: set[str] = set()
    for tensors in modules.values():
        kinds.add(algorithm_for({name: tensor for name, tensor in tensors.items() if name != SCALE}).algorithm)
        kinds |= {"dora"} if SCALE in tensors else set()
        kinds |= {"tucker"} if CORES & tensors.keys() else set()
    return kinds


def kinds_of_spec(spec: NetworkSpec) -> set[str]:
    """The kinds that a network made by ``spec`` has."""
    optional = {"dora": spec.dora, "tucker": spec.tucker and spec.conv_rank > 0, "norm": spec.train_norm}
    return {spec.algorithm} | {kind for kind, wanted in optional.items() if wanted}
