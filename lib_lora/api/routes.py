"""The routes, on the FastAPI app of a web UI or of the page that we serve ourselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from fastapi import Body, Depends
from fastapi.responses import JSONResponse

from lib_lora.access import Access, Refused, guarded, under
from lib_lora.api import views
from lib_lora.api.guard import Guard
from lib_lora.api.services import Services
from lib_lora.errors import UserError
from lib_lora.workbench import Workbench

PREFIX = "/lora-workbench/v1"


def add_api(app: Any, workbench: Workbench, access: Access) -> None:
    """Mount the API; does nothing where the user of the web UI wants none.

    Folders that a request names must lie in the host's own or in ``access.roots``, whatever the page may do. What
    changes anything is refused where ``access`` is read-only.
    """
    if not access.api:
        return
    services = Services(workbench, access)
    login = [Depends(Guard(app, access.credentials).check)]

    def add(method: str, path: str, endpoint: Callable[..., Any]) -> None:
        app.add_api_route(f"{PREFIX}/{path}", endpoint, methods=[method], dependencies=login, response_model=None)

    with under(replace(access, hide_paths=True).within(*workbench.host.paths.folders)):
        for method, path, service in (
            ("GET", "status", services.status),
            ("GET", "jobs/{job_id}", services.job),
            ("GET", "runs", services.runs),
            ("GET", "runs/{run_id}", services.run),
        ):
            add(method, path, _answering(service))
        for service in (services.start, services.stop, services.grid, services.merge):
            add("POST", service.__name__, _taking_a_body(service))


def _answering(service: Callable[..., Any]) -> Callable[..., Any]:
    """``service`` as an endpoint: a mistake of the caller becomes an answer that says what is wrong."""
    service = guarded(service)

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
