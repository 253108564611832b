"""Who may call: the web UI's ``--api-auth``, else the login of its page; from where: :mod:`lib_lora.api.doors`."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from secrets import compare_digest
from typing import Any

from fastapi import HTTPException, Request

from lib_lora.access import Access
from lib_lora.api.doors import Doors

LOGIN_COOKIES = ("access-token", "access-token-unsecure")  # gradio's; later versions append the name of the app


class Guard:
    """Lets in who has logged in, or everybody where no login is asked for; ``Depends(guard.check)``.

    Args:
        app: the page's app; with ``--gradio-auth`` it has ``auth``, and ``tokens`` of those who logged in.
        access: its credentials, those of ``--api-auth``, count for the API only, and there alone.
        api: whether this is the API, else a part of the page, which every name of a server on the network leads to.
    """

    def __init__(self, app: Any, access: Access, *, api: bool = False):
        self.app = app
        self.credentials = dict(access.credentials) if api else {}
        self.doors = Doors(access.names, access.origins, access.origin_pattern, any_name=not (api or access.local))

    def check(self, request: Request) -> None:
        """Raise 403 for another site, 401 for a stranger."""
        page = getattr(self.app, "auth", None)
        login = bool(self.credentials or page)
        doors = replace(self.doors, any_name=True) if login else self.doors
        if reason := doors.refusal(request.method, {k.lower(): v for k, v in request.headers.items()}):
            raise HTTPException(403, reason)
        if not login:
            return
        if self._by_password(request, page) or (not self.credentials and self._by_cookie(request)):
            return
        raise HTTPException(401, "Incorrect username or password", headers={"WWW-Authenticate": "Basic"})

    def _by_password(self, request: Request, page: Any) -> bool:
        user, password = _basic(request.headers.get("authorization", ""))
        if not self.credentials and callable(page):
            return bool(user) and bool(page(user, password))
        known = self.credentials or page
        expected = known.get(user)
        return expected is not None and compare_digest(password.encode(), expected.encode())

    def _by_cookie(self, request: Request) -> bool:
        tokens = getattr(self.app, "tokens", {})
        return any(name.startswith(LOGIN_COOKIES) and value in tokens for name, value in request.cookies.items())


def _basic(header: str) -> tuple[str, str]:
    """User and password of an ``Authorization: Basic`` header; empty where it is none."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
