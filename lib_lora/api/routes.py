"""The routes, on the FastAPI app of a web UI or of the page that we serve ourselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from fastapi import Body, Depends
from fastapi.responses import JSONResponse

from lib_lora.api import views
from lib_lora.api.guard import Guard
from lib_lora.api.services import Services
from lib_lora.errors import UserError
from lib_lora.hosts.access import Access
from lib_lora.workbench import Workbench

PREFIX = "/lora-workbench/v1"


def add_api(app: Any, workbench: Workbench, access: Access) -> None:
    """Mount the API; does nothing where the user of the web UI wants none.

    What changes anything is refused where ``access`` is read-only.
    """
    if not access.api:
        return
    services = Services(workbench, access)
    login = [Depends(Guard(app, access.credentials).check)]

    def add(method: str, path: str, endpoint: Callable[..., Any]) -> None:
        app.add_api_route(f"{PREFIX}/{path}", endpoint, methods=[method], dependencies=login, response_model=None)

    for method, path, service in (
        ("GET", "status", services.status),
        ("GET", "jobs/{job_id}", services.job),
        ("GET", "runs", services.runs),
        ("GET", "runs/{run_id}", services.run),
    ):
        add(method, path, _answering(service))
    for service in (services.start, services.stop, services.grid, services.merge):
        add("POST", service.__name__, _taking_a_body(_refusing(service) if access.read_only else service))


def _answering(service: Callable[..., Any]) -> Callable[..., Any]:
    """``service`` as an endpoint: a mistake of the caller becomes an answer that says what is wrong."""

    @wraps(service)
    def endpoint(*args: Any, **kwargs: Any) -> Any:
        try:
            return service(*args, **kwargs)
        except UserError as error:
            status = 403 if isinstance(error, Refused) else 400
            return JSONResponse(views.error(error), status)

    return endpoint


def _taking_a_body(service: Callable[[dict[str, Any]], Any]) -> Callable[..., Any]:
    answer = _answering(service)

    def endpoint(body: dict[str, Any] = Body(default={})) -> Any:  # noqa: B008 — FastAPI's way; it is not changed
        return answer(body)

    return endpoint


class Refused(UserError):
    """The caller may not do that at all."""


def _refusing(service: Callable[..., Any]) -> Callable[..., Any]:
    def refuse(body: dict[str, Any]) -> Any:
        raise Refused(
            "This web UI is open to the network, so it can only be looked at",
            where=service.__name__,
            fix="Start it with --enable-insecure-extension-access, or without --listen and --share",
        )

    return refuse
