"""Which programs apply which kinds of adapters, so that nobody trains a file that does nothing where it is to be used.

Each algorithm says so itself.

A1111's Lora extension and Forge's patcher were measured (docs/hosts.md), but for normalisation layers; the rest is from
the sources of Forge, sd-scripts (``networks.lora``) and diffusers (``load_lora_weights``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from lib_lora.adapters.algorithms import algorithm_for, algorithms
from lib_lora.adapters.dora import SCALE
from lib_lora.adapters.selection import NetworkSpec, part_of
from lib_lora.models.family import Family

TEXT_NORM = "text_norm"
# What else a file may have beside its algorithm: place in a list, name for the user
_PARTS = {
    "tucker": (10, "Tucker cores"),
    "dora": (45, "the magnitudes of DoRA"),
    TEXT_NORM: (96, "the text encoders' normalisation layers"),
}
# Part -> programs whose tables of layers have no room for it, where the algorithm itself is applied
_UNREAD_PARTS = {TEXT_NORM: ("Forge", "ComfyUI")}
CORES = frozenset(("lora_mid.weight", "hada_t1", "hada_t2", "lokr_t2"))
WEB_UIS = ("AUTOMATIC1111", "Forge", "ComfyUI")
READ_LORA_ONLY = "sd-scripts and diffusers"


def kinds() -> dict[str, str]:
    """Kind -> its name for the user, in their order."""
    placed = {cls.algorithm: (cls.place, cls.label) for cls in algorithms().values()} | _PARTS
    return {kind: label for kind, (_, label) in sorted(placed.items(), key=lambda item: item[1][0])}


def read_by(family: Family) -> str:
    """Which programs run a family and read its files, as a sentence."""
    *most, last = family.programs
    named = f"{', '.join(most)} and {last}" if most else last
    return f"A LoRA for {family.label}: {named} read it under these names of layers"


def limits(found: Iterable[str]) -> list[str]:
    """What each of :data:`WEB_UIS` does not do with a file of these kinds; a reason to train another kind."""
    found = frozenset(found)
    return [sentence for program in WEB_UIS for sentence in limits_of(program, found)]


def limits_of(program: str, found: Iterable[str]) -> Iterator[str]:
    """Sentences about those of ``found`` that a program does not apply as they were trained; none when all is well."""
    found = set(found)
    here = [algorithms()[kind] for kind in kinds() if kind in found and kind in algorithms()]
    otherwise = {cls.label: cls.elsewhere[program] for cls in here if program in cls.elsewhere}
    unread = [label for label, what in otherwise.items() if not what]
    unread += [_PARTS[part][1] for part, programs in _UNREAD_PARTS.items() if part in found and program in programs]
    if unread:
        yield f"{program} does not apply {', '.join(unread)}"
    yield from (f"{program} {what}" for what in otherwise.values() if what)


def applied_by(program: str) -> frozenset[str]:
    """The kinds that one of :data:`WEB_UIS`, or diffusers, applies as they were trained."""
    if program == "diffusers":
        return frozenset({"lora"})
    return frozenset(kind for kind in kinds() if not list(limits_of(program, {kind})))


def limits_elsewhere(found: Iterable[str]) -> str:
    """What programs that are no web UI do not apply, as one sentence; empty for plain LoRA. Good to know, no fault."""
    lacking = {kind: label for kind, label in kinds().items() if kind in set(found) - {"lora", TEXT_NORM}}
    if not lacking:
        return ""
    refused = "; diffusers refuses the whole file" if set(lacking) - {"dora"} else ""  # of DoRA it takes the LoRA
    return f"{READ_LORA_ONLY} do not apply {', '.join(lacking.values())}{refused}"


def kinds_of(modules: Mapping[str, Mapping[str, Tensor]]) -> set[str]:
    """The kinds in a file's layers: layer key -> parameter name -> tensor."""
    found: set[str] = set()
    for key, tensors in modules.items():
        algorithm = algorithm_for({name: tensor for name, tensor in tensors.items() if name != SCALE}).algorithm
        found |= {algorithm, TEXT_NORM} if algorithm == "norm" and part_of(key) == "te" else {algorithm}
        found |= {"dora"} if SCALE in tensors else set()
        found |= {"tucker"} if CORES & tensors.keys() else set()
    return found


def kinds_of_spec(spec: NetworkSpec) -> set[str]:
    """The kinds that a network made by ``spec`` has."""
    optional = {"dora": spec.dora, "tucker": spec.tucker and spec.conv_rank > 0, "norm": spec.train_norm,
                TEXT_NORM: spec.train_norm and spec.train_text_encoder}  # fmt: skip
    return {spec.algorithm} | {kind for kind, wanted in optional.items() if wanted}
