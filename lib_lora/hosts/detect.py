"""Which web UI this process is, told by what it can do."""

from __future__ import annotations

from importlib.util import find_spec

from lib_lora.models.base import Host


def web_ui_host() -> Host:
    """The host for the web UI that runs us: by the package that its models are built on."""
    if find_spec("backend") and find_spec("backend.memory_management"):
        from lib_lora.hosts.forge.host import ForgeHost

        return ForgeHost()
    if find_spec("ldm_patched"):
        from lib_lora.hosts.ldm_patched.host import LdmPatchedHost

        return LdmPatchedHost()
    from lib_lora.hosts.a1111.host import A1111Host

    return A1111Host()
