"""The routes, on the FastAPI app of a web UI or of the page that we serve ourselves."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from fastapi import Depends, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from lib_lora.access import Access, Refused, guarded, under
from lib_lora.api import views
from lib_lora.api.doors import HEADERS
from lib_lora.api.guard import Guard
from lib_lora.api.services import Services
from lib_lora.errors import UserError
from lib_lora.workbench import Workbench

PREFIX = "/lora-workbench/v1"
MAX_BODY = 1 << 20  # bytes
EXAMPLE = 'Send an object such as {"job": 1}'


def add_api(app: Any, workbench: Workbench, access: Access) -> None:
    """Mount the API; does nothing where the user of the web UI wants none.

    Folders that a request names must lie in the host's own or in ``access.roots``, whatever the page may do. What
    changes anything is refused where ``access`` is read-only, and to everything but JSON.
    """
    if not access.api:
        return
    services = Services(workbench, access)
    login = [Depends(Guard(app, access, api=True).check)]

    def add(method: str, path: str, endpoint: Callable[..., Any]) -> None:
        app.add_api_route(f"{PREFIX}/{path}", endpoint, methods=[method], dependencies=login, response_model=None)

    with under(replace(access, hide_paths=True).within(*workbench.host.paths.folders)):
        for path, service in (
            ("status", services.status),
            ("jobs/{job_id}", services.job),
            ("runs", services.runs),
            ("runs/{run_id}", services.run),
            ("loras", services.loras),
            ("loras/{name:path}", services.lora),
            ("taste/{name:path}", services.tasted),
            ("made/{name}", services.made),
        ):
            add("GET", path, _answering(service))
        for change in (services.start, services.stop, services.grid, services.merge, services.publish, services.taste,
                       services.answer, services.generate, services.keep, services.take, services.slider,
                       services.mixture, services.influence, services.without):  # fmt: skip
            add("POST", change.__name__, _taking_a_body(change))


class _Unusable(UserError):
    """The body of a request; ``status`` is that of the answer."""

    def __init__(self, status: int, what: str, fix: str):
        super().__init__(what, where="body", fix=fix)
        self.status = status


def _answering(service: Callable[..., Any]) -> Callable[..., JSONResponse]:
    """``service`` as an endpoint: a mistake of the caller becomes an answer that says what is wrong."""
    service = guarded(service)

    @wraps(service)
    def endpoint(*args: Any, **kwargs: Any) -> JSONResponse:
        try:
            return JSONResponse(views.finite(service(*args, **kwargs)), headers=HEADERS)
        except UserError as error:
            return _refused(error)

    return endpoint


def _refused(error: UserError) -> JSONResponse:
    status = error.status if isinstance(error, _Unusable) else 403 if isinstance(error, Refused) else 400
    return JSONResponse(views.error(error), status, HEADERS)


def _taking_a_body(service: Callable[[dict[str, Any]], Any]) -> Callable[[Request], Awaitable[JSONResponse]]:
    answer = _answering(service)

    async def endpoint(request: Request) -> JSONResponse:
        try:
            body = await _json_object(request)
        except UserError as error:
            return _refused(error)
        return await run_in_threadpool(answer, body)

    return endpoint


async def _json_object(request: Request) -> dict[str, Any]:
    """The body of a request; FastAPI's own reading takes one of any size, and some versions of it without a type.

    Raises:
        UserError: it does not say that it is JSON, is no object, or is too long.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise _Unusable(415, "The body must be JSON", "Send the header Content-Type: application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise _Unusable(413, f"The body has more than {MAX_BODY:,} bytes", "Name files instead of sending them")
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise _Unusable(400, f"The body cannot be read as JSON ({error})", EXAMPLE) from error
    if not isinstance(found, dict):
        raise _Unusable(400, "The body is no JSON object", EXAMPLE)
    return found
