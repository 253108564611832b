"""What a LoRA file says about itself: kohya's ``ss_*``, Stability's ``modelspec.*`` and the ``sshs_*`` hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import BinaryIO

from lib_lora.adapters.algorithms import algorithm
from lib_lora.adapters.selection import NetworkSpec
from lib_lora.models.family import Family

LEGACY_OFFSET, LEGACY_LENGTH = 0x100000, 0x10000


def kohya(values: Mapping[str, object]) -> dict[str, str]:
    """``values`` under kohya's ``ss_`` names, as text: tables and lists as JSON, the rest by ``str``."""
    return {f"ss_{name}": _text(value) for name, value in values.items()}


def network(spec: NetworkSpec) -> dict[str, str]:
    """The ``ss_network_*`` entries of a network made by ``spec``: kohya's module, or LyCORIS' for what it cannot."""
    args = {"conv_dim": str(spec.conv_rank), "conv_alpha": str(spec.conv_alpha)} if spec.conv_rank else {}
    switches = {
        "dora_wd": spec.dora,
        "rs_lora": spec.rs_lora,
        "use_tucker": spec.tucker,
        "decompose_both": spec.decompose_both,
        "full_matrix": spec.full_matrix,
        "train_norm": spec.train_norm,
    }
    args |= {name: "True" for name, on in switches.items() if on}
    if spec.factor != -1:
        args["factor"] = str(spec.factor)
    if spec.constraint:
        args["constraint"] = str(spec.constraint)
    lycoris = spec.algorithm != "lora" or any(switches.values())
    if lycoris:
        args["algo"] = algorithm(spec.algorithm).lycoris or spec.algorithm
    module = "lycoris.kohya" if lycoris else "networks.lora"
    values = {"network_module": module, "network_dim": spec.rank, "network_alpha": spec.alpha}
    return kohya({**values, "network_args": args})


def base_model(of: Family, prediction: str) -> dict[str, str]:
    """The entries by which web UIs tell which checkpoints a LoRA fits.

    Args:
        prediction: ``"epsilon"``, ``"v"`` or ``"flow"``.
    """
    marking = of.marking_for(prediction)
    entries = {
        **kohya({"base_model_version": marking.version, "v2": marking.v2}),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{marking.architecture}/lora",
        "modelspec.implementation": marking.implementation,
    }
    return entries if prediction == "flow" else {**entries, "modelspec.prediction_type": prediction}


def base_model_of(of: Family) -> dict[str, str]:
    """What can be said about the base model of layers whose training nobody has recorded."""
    entries = base_model(of, of.prediction)
    return (
        entries if len(of.predictions) == 1 else {k: v for k, v in entries.items() if k != "modelspec.prediction_type"}
    )


def modelspec(**entries: str | None) -> dict[str, str]:
    """``modelspec.NAME`` for every entry that is not None: title, author, date, resolution, tags, trigger_phrase, …"""
    return {f"modelspec.{name}": value for name, value in entries.items() if value is not None}


def merged(
    sources: Iterable[Mapping[str, object]], inherited: Mapping[str, str], rank: int, formula: str
) -> dict[str, str]:
    """The metadata of a merge.

    Args:
        sources: per term its ``name``, ``hash``, ``weight`` and ``blocks``.
        inherited: metadata of the first source; what it says about the base model is kept.
        rank: the largest rank of a layer, 0 where all are full differences; alpha equals the rank in every layer.
        formula: the formula as the user wrote it.
    """
    sources = list(sources)
    about_base = ("ss_base_model_version", "ss_v2", "ss_clip_skip", "ss_sd_model_name", "ss_sd_model_hash")
    about_spec = ("sai_model_spec", "architecture", "implementation", "prediction_type", "resolution")
    names = (*about_base, "ss_new_sd_model_hash", *(f"modelspec.{n}" for n in about_spec))
    kept = {name: inherited[name] for name in names if name in inherited}
    full = rank == 0
    values: dict[str, object] = {
        "network_module": "lycoris.kohya" if full else "networks.lora",
        "network_dim": rank or None,
        "network_alpha": float(rank) or None,
        "network_args": {"algo": "full"} if full else {},
    }
    return {
        **kept,
        **kohya({**values, "training_comment": f"merge: {formula}"}),
        **modelspec(merged_from=", ".join(str(s["name"]) for s in sources)),
        "merge_formula": formula,
        "merge_sources": _text(sources),
    }


def hashes(file: BinaryIO, start: int, training_head: bytes, data_hash: str | None = None) -> dict[str, str]:
    """``sshs_model_hash`` and ``sshs_legacy_hash`` of a file.

    The first is the SHA-256 of the tensors' bytes. The second, of the old Additional Networks extension, is the start
    of the SHA-256 of 64 KiB at 1 MiB of the file as it would be with ``ss_*`` metadata only.

    Args:
        file: open for reading.
        start: where the tensors' bytes begin.
        training_head: what would stand before them with ``ss_*`` metadata only.
        data_hash: the SHA-256 of the tensors' bytes; None reads them.
    """
    begin, end = LEGACY_OFFSET, LEGACY_OFFSET + LEGACY_LENGTH
    legacy = training_head[begin:end]
    file.seek(start + max(0, begin - len(training_head)))
    legacy += file.read(max(0, end - max(begin, len(training_head))))
    file.seek(start)
    digest = hashlib.sha256()
    while data_hash is None and (block := file.read(1 << 20)):
        digest.update(block)
    return {
        "sshs_model_hash": data_hash or digest.hexdigest(),
        "sshs_legacy_hash": hashlib.sha256(legacy).hexdigest()[:8],
    }


def without_hashes(metadata: Mapping[str, str]) -> dict[str, str]:
    """``metadata`` with hashes of the same length as the true ones, which are known when the data are written."""
    return {**metadata, "sshs_model_hash": "0" * 64, "sshs_legacy_hash": "0" * 8}


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, tuple)) else str(value)
