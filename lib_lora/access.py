"""Who may do what. Handlers of the page and of the HTTP API say it themselves; what says nothing is not connected.

A handler is marked with :func:`looks` or :func:`changes`, and the seam that connects it (``ui.compat.listen``,
``ui.actions.act``, ``api.routes``) passes it through :func:`guarded`, which holds it to the rules in force there.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, overload

from lib_lora.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])
MARK = "access_needed"


class Refused(UserError):
    """The caller may not do that at all."""


READ_ONLY = Refused(
    "This web UI is open to the network, so it can only be looked at",
    fix="Start it with --enable-insecure-extension-access, or without --listen and --share",
)


NO_INSTALLS = Refused(
    "Packages cannot be installed from here: this web UI is open to the network, or hides its folders",
    fix="Install it on the machine itself, or start the web UI without these options",
)


@dataclass(frozen=True)
class Access:
    """The rules; the defaults are those of a program that serves its own machine only.

    Attributes:
        api: whether the HTTP API is offered.
        credentials: user name -> password for the API; empty: no login is asked for.
        read_only: others on the network may look, and nobody may start, change or delete anything.
        hide_paths: no field or request may name a folder outside ``roots``, and none is asked for.
        roots: folders that a caller may name where that is restricted.
        local: whether the server is there for its own machine only; elsewhere names of all kinds lead to a page.
        names: further names that the server is reached by.
        origins: other sites that the user trusts; ``origin_pattern``: the same as a regular expression.
    """

    api: bool = True
    credentials: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False
    hide_paths: bool = False
    roots: tuple[Path, ...] = ()
    local: bool = True
    names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    origin_pattern: str = ""

    @property
    def confined(self) -> bool:
        """Whether paths must lie in ``roots``: also where anybody on the network may look."""
        return self.hide_paths or self.read_only

    @property
    def may_install(self) -> bool:
        """Whether packages may be installed: where the web UI would let extensions be."""
        return not self.confined

    def within(self, *folders: Path) -> Access:
        """The same with more ``roots``."""
        return replace(self, roots=(*self.roots, *folders))


# -- what a handler says of itself -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Needs:
    """What a handler does; ``paths`` are its parameters that name files or folders, in a text one a line."""

    changes: bool
    paths: tuple[str, ...] = ()


@overload
def looks(handler: F) -> F: ...
@overload
def looks(*, paths: tuple[str, ...]) -> Callable[[F], F]: ...
def looks(handler: F | None = None, *, paths: tuple[str, ...] = ()) -> F | Callable[[F], F]:
    """Mark a handler that shows something and changes nothing: no file, no job, no setting, nothing others see.

    Args:
        paths: names of its parameters that are paths. A path inside another value is asked for with :func:`admit`.
    """
    return _mark(handler, Needs(False, paths))


@overload
def changes(handler: F) -> F: ...
@overload
def changes(*, paths: tuple[str, ...]) -> Callable[[F], F]: ...
def changes(handler: F | None = None, *, paths: tuple[str, ...] = ()) -> F | Callable[[F], F]:
    """Mark a handler that changes something, or that starts or ends work; ``paths`` as for :func:`looks`."""
    return _mark(handler, Needs(True, paths))


def _mark(handler: F | None, needs: Needs) -> F | Callable[[F], F]:
    def mark(function: F) -> F:
        if unknown := set(needs.paths) - set(inspect.signature(function).parameters):
            raise TypeError(f"{function} has no parameter {', '.join(sorted(unknown))}")
        setattr(function, MARK, needs)
        return function

    return mark if handler is None else mark(handler)


def needs_of(handler: Callable[..., Any]) -> Needs:
    """What ``handler`` said, also through ``partial`` and ``functools.wraps``.

    Raises:
        TypeError: it said nothing.
    """
    found: Any = handler
    while found is not None:
        if isinstance(needs := getattr(found, MARK, None), Needs):
            return needs
        found = getattr(found, "func", None) or getattr(found, "__wrapped__", None)
    raise TypeError(f"{handler} is connected without @looks or @changes (lib_lora.access)")


def around(handler: Callable[..., Any]) -> Callable[[F], F]:
    """Decorator of a function that calls ``handler``: it says the same of itself, and has its signature.

    It has no annotations: gradio would look up the names of its own where ``handler`` is defined.
    """

    def wrap(function: F) -> F:
        functools.update_wrapper(function, handler)
        function.__annotations__ = {}
        return function

    return wrap


# -- the rules in force ------------------------------------------------------------------------------------------------

EVERYTHING = Access()
_CONNECTING: ContextVar[Access] = ContextVar("connecting", default=EVERYTHING)  # while a page or the API is built
_CALLING: ContextVar[Access] = ContextVar("calling", default=EVERYTHING)  # while a handler runs


@contextmanager
def under(access: Access) -> Iterator[None]:
    """Handlers that are connected inside are held to ``access``."""
    token = _CONNECTING.set(access)
    try:
        yield
    finally:
        _CONNECTING.reset(token)


def guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """``handler`` as it may be connected here; it raises :class:`UserError` for what it may not do.

    Raises:
        TypeError: it does not say what it does.
    """
    needs, access = needs_of(handler), _CONNECTING.get()
    parameters = inspect.signature(handler) if needs.paths else None

    @around(handler)
    def call(*args: Any, **kwargs: Any) -> Any:
        if needs.changes and access.read_only:
            raise READ_ONLY
        token = _CALLING.set(access)
        try:
            if parameters and access.confined:
                given = parameters.bind(*args, **kwargs).arguments
                for name in needs.paths:
                    _admit_lines(given.get(name), name)
            return handler(*args, **kwargs)
        finally:
            _CALLING.reset(token)

    return call


def permits(path: str | Path) -> bool:
    """Whether the present caller may name ``path``."""
    access = _CALLING.get()
    return not access.confined or _inside(Path(path), access.roots)


def admit_install() -> None:
    """Refuse to install a package where the present caller may not.

    Raises:
        UserError: saying why.
    """
    if not _CALLING.get().may_install:
        raise NO_INSTALLS


def admit_code() -> None:
    """Refuse to import a module that the present caller names, where they may not train with it either.

    Raises:
        UserError: saying why.
    """
    if _CALLING.get().read_only:
        raise READ_ONLY


def admit(path: str | Path, setting: str) -> None:
    """Refuse a path that the present caller may not name.

    Raises:
        UserError: naming ``setting``.
    """
    access = _CALLING.get()
    if access.confined:
        confined(path, access.roots, setting, told=not access.read_only)


def confined(path: str | Path, roots: Iterable[Path], setting: str, *, told: bool = True) -> Path:
    """``path`` if it lies in one of ``roots``, links followed.

    Args:
        setting: where the path was given.
        told: whether the caller may know the roots.

    Raises:
        UserError: it does not, naming ``setting``.
    """
    roots = list(roots)
    if not _inside(Path(path), roots):
        fix = "Use a folder below " + ", ".join(str(root.resolve()) for root in roots) if told else None
        raise UserError("This folder may not be used from here", where=setting, fix=fix)
    return Path(path).resolve()


def _inside(path: Path, roots: Iterable[Path]) -> bool:
    try:
        resolved = path.expanduser().resolve()
    except (OSError, ValueError, RuntimeError):  # a NUL in it, a circle of links, no such user
        return False
    return any(root in (resolved, *resolved.parents) for root in (root.resolve() for root in roots))


def _admit_lines(value: Any, name: str) -> None:
    """Text with a path a line, a path, or an upload of gradio's; nothing given is nothing asked for."""
    text = str(getattr(value, "name", None) or value or "")
    for line in filter(None, (line.strip().strip('"') for line in text.splitlines())):
        admit(line, name)
