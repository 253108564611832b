"""Who may do what in a web UI: what its user said on its command line about login, paths and remote use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib_lora.access import Access


def web_ui_access() -> Access:
    """The rules of the web UI that runs us: its ``--api``, ``--api-auth``, ``--listen``, ``--share`` and the like."""
    from modules import paths, shared

    options = shared.cmd_opts
    remote = [_option(options, name) for name in ("listen", "share", "ngrok", "server_name")]
    named = [paths.data_path, paths.models_path, *_output_folders(shared.opts)]
    return Access(
        api=bool(_option(options, "api") or _option(options, "nowebui")),
        credentials=_credentials(_option(options, "api_auth")),
        read_only=bool(_option(options, "disable_extension_access")),
        hide_paths=bool(_option(options, "hide_ui_dir_config")),
        roots=tuple(Path(folder).resolve() for folder in named if folder),
        local=not any(remote),
        names=tuple(filter(None, [_option(options, "server_name")])),
        origins=tuple(filter(None, map(str.strip, (_option(options, "cors_allow_origins") or "").split(",")))),
        origin_pattern=_option(options, "cors_allow_origins_regex") or "",
    )


def _credentials(text: str | None) -> dict[str, str]:
    """``"anna:secret,ben:word"``, as ``--api-auth`` has it."""
    return dict(pair.strip().split(":", 1) for pair in (text or "").split(",") if ":" in pair)


def _output_folders(opts: Any) -> Sequence[str]:
    names = ("outdir_samples", "outdir_txt2img_samples", "outdir_img2img_samples", "outdir_grids")
    return [folder for name in names if (folder := _option(opts, name))]


def _option(options: Any, name: str) -> Any:
    return getattr(options, name, None)
