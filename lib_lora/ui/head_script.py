"""A script that runs before those of gradio's page, which offers no place for one."""

from __future__ import annotations

from typing import Any


class HeadScript:
    """ASGI middleware that writes ``script`` to the top of the page at ``/``."""

    def __init__(self, app: Any, script: str):
        self.app = app
        self.tag = f"<head><script>{script}</script>".encode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass on what is asked and answered; in the page, the script is added."""
        if scope["type"] != "http" or scope["path"] != "/":
            await self.app(scope, receive, send)
            return
        start: dict[str, Any] = {}
        body = bytearray()

        async def gather(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            page = bytes(body).replace(b"<head>", self.tag, 1)
            others = [(name, value) for name, value in start["headers"] if name != b"content-length"]
            await send({**start, "headers": [*others, (b"content-length", str(len(page)).encode())]})
            await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, gather)
