"""Which requests are let in by where they come from; who is calling is :mod:`lib_lora.api.guard`'s question.

A browser lets any site send requests to this machine. It tells where they come from: ``Origin``, ``Sec-Fetch-Site``,
``Referer``. And a site may have its own name resolve to this machine (DNS rebinding): then ``Host`` is that name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

# names that nobody outside can have: of one label, or below a domain that is never registered
OWN_NAME = re.compile(r"[\w-]+|.+\.(local|localhost|lan|internal|home\.arpa)", re.IGNORECASE)
LOOKING = ("GET", "HEAD", "OPTIONS")
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Doors:
    """The rules.

    Attributes:
        names: further names that this server is reached by, e.g. ``"train.example.org"``.
        origins: sites that the user trusts, e.g. ``"https://example.org"``; ``"*"`` is all of them.
        origin_pattern: the same as a regular expression; empty: none.
        any_name: whether any ``Host`` will do, as where a login is asked for, which another name does not have.
    """

    names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    origin_pattern: str = ""
    any_name: bool = False

    def refusal(self, method: str, headers: Mapping[str, str], *, page: bool = False) -> str:
        """Why a request is not let in; empty where it is.

        Args:
            headers: their names in small letters.
            page: whether this is a page, to which other sites may link.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._known(host):
            return f"This server is not called {_name(host)!r}"
        if origin is not None:
            return "" if self._trusted(origin, host) else f"Another site asks: {origin}"
        if page and method in LOOKING and headers.get("sec-fetch-mode", "navigate") == "navigate":
            return ""
        if headers.get("sec-fetch-site") == "cross-site":
            return "Another site asks"
        if method not in LOOKING and (referer := headers.get("referer")) and not self._trusted(referer, host):
            return f"Another site asks: {referer}"
        return ""

    def _known(self, host: str) -> bool:
        name = _name(host)
        trusted = (_name(urlsplit(origin).netloc) for origin in self.origins)
        return self.any_name or _is_address(name) or bool(OWN_NAME.fullmatch(name)) or name in (*self.names, *trusted)

    def _trusted(self, site: str, host: str) -> bool:
        parts = urlsplit(site)
        origin = f"{parts.scheme}://{parts.netloc}"
        if parts.netloc and parts.netloc.casefold() == host.casefold():
            return True
        if self.origin_pattern and re.fullmatch(self.origin_pattern, origin):
            return True
        return "*" in self.origins or (bool(parts.netloc) and origin in self.origins)


class DoorKeeper:
    """ASGI middleware for a server of ours: every route, gradio's own too, and no page of another site around ours."""

    def __init__(self, app: Any, doors: Doors):
        self.app, self.doors = app, doors

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[..., Awaitable[Any]], send: Callable[..., Awaitable[None]]
    ) -> None:
        """Let a request through where the doors do, or answer that they do not."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        reason = self.doors.refusal(scope.get("method", "GET"), headers, page=scope["path"] == "/")
        if not reason:
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
        else:
            plain = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": plain})
            await send({"type": "http.response.body", "body": reason.encode()})


def _with_headers(send: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    ours = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *ours]}
        await send(message)

    return sending


def _name(host: str) -> str:
    """``[::1]:7861`` -> ``::1``; without a port, in small letters."""
    if host.startswith("["):
        return host[1:].partition("]")[0].casefold()
    return host.rpartition(":")[0].casefold() if host.count(":") == 1 else host.casefold()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
