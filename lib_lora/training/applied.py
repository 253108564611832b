"""LoRAs that act on the model while a run is trained, and are no part of what it saves.

The run learns what is missing beside them: a character under a style, or a distilled model's LoRA under an adapter that
takes the distillation back while it is trained (ai-toolkit's training adapters for Flux.1 schnell and Z-Image Turbo).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lib_lora.adapters import formula
from lib_lora.adapters.blocks import BlockWeights, load_presets
from lib_lora.adapters.network import Network
from lib_lora.errors import UserError
from lib_lora.lora_files import Folders, find_lora

SETTING = "apply_loras"


def check_applied(text: str) -> None:
    """Raise :class:`UserError` where the setting cannot be read."""
    _terms(text)


def applied_networks(text: str, folders: Folders) -> list[Network]:
    """The networks of ``NAME:weight:BLOCKS,…`` in float32, frozen and switched on, each with its weight; none for "".

    Raises:
        UserError: a file that is missing, damaged or no LoRA, or block weights that do not fit.
    """
    return networks_of(_terms(text), folders, load_presets())


def networks_of(terms: Sequence[formula.Term], folders: Folders, presets: Mapping[str, str]) -> list[Network]:
    """The networks of a formula's terms; see :func:`applied_networks`."""
    found = []
    for term in terms:
        network = Network.from_file(find_lora(term.name, folders))
        for adapter in network.adapters.values():
            adapter.float().requires_grad_(False)
        if term.blocks is not None:
            of = network.families[0] if network.families else None
            network.set_block_weights(BlockWeights.parse(term.blocks, presets, of))
        network.multiplier = term.weight
        found.append(network)
    return found


def _terms(text: str) -> list[formula.Term]:
    try:
        return formula.parse(text) if text.strip() else []
    except UserError as error:
        raise UserError(error.what, where=SETTING, fix="Write for example STYLE:0.8, or NAME:1,OTHER:0.5") from error
