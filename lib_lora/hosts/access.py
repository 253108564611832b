"""Who may do what: what the user of a web UI said on its command line about login, paths and remote use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib_lora.errors import UserError


@dataclass(frozen=True)
class Access:
    """The rules; the defaults are those of a program that serves its own machine only.

    Attributes:
        api: whether the HTTP API is offered.
        credentials: user name -> password for the API; empty: no login is asked for.
        read_only: others on the network may look, and nobody may start, change or delete anything.
        hide_paths: no field or request may name a folder outside ``roots``, and none is asked for.
        roots: folders that a request over HTTP may name, beside the host's own.
    """

    api: bool = True
    credentials: dict[str, str] = field(default_factory=dict)
    read_only: bool = False
    hide_paths: bool = False
    roots: tuple[Path, ...] = ()


def web_ui_access() -> Access:
    """The rules of the web UI that runs us: its ``--api``, ``--api-auth``, ``--listen``, ``--share`` and the like."""
    from modules import paths, shared

    options = shared.cmd_opts
    named = [paths.data_path, paths.models_path, *_output_folders(shared.opts)]
    return Access(
        api=bool(_option(options, "api") or _option(options, "nowebui")),
        credentials=_credentials(_option(options, "api_auth")),
        read_only=bool(_option(options, "disable_extension_access")),
        hide_paths=bool(_option(options, "hide_ui_dir_config")),
        roots=tuple(Path(folder).resolve() for folder in named if folder),
    )


def confined(path: str | Path, roots: Iterable[Path], setting: str) -> Path:
    """``path`` if it lies in one of ``roots``, links followed.

    Raises:
        UserError: it does not, naming ``setting``.
    """
    resolved = Path(path).resolve()
    allowed = [root.resolve() for root in roots]
    if not any(root == resolved or root in resolved.parents for root in allowed):
        fix = "Use a folder below " + ", ".join(map(str, allowed))
        raise UserError("This folder may not be used from here", where=setting, fix=fix)
    return resolved


def _credentials(text: str | None) -> dict[str, str]:
    """``"anna:secret,ben:word"``, as ``--api-auth`` has it."""
    return dict(pair.strip().split(":", 1) for pair in (text or "").split(",") if ":" in pair)


def _output_folders(opts: Any) -> Sequence[str]:
    names = ("outdir_samples", "outdir_txt2img_samples", "outdir_img2img_samples", "outdir_grids")
    return [folder for name in names if (folder := _option(opts, name))]


def _option(options: Any, name: str) -> Any:
    return getattr(options, name, None)
