"""Which web UI this process is, told by what it can do."""

from __future__ import annotations

from importlib.util import find_spec

from lib_lora.errors import UserError
from lib_lora.models.base import Host


def web_ui_host() -> Host:
    """The host for the web UI that runs us.

    Raises:
        UserError: a web UI whose way of holding a model we do not know.
    """
    if find_spec("ldm_patched") or find_spec("modules_forge"):
        raise UserError(
            "Training inside this web UI is not possible yet",
            where="Forge, reForge or Forge-Classic",
            fix="Run the tabs standalone: python3 install.py demo in this extension's folder",
        )
    from lib_lora.hosts.a1111.host import A1111Host

    return A1111Host()
