"""Watches the connections that a library opens in one attempt: counts them, and forbids private addresses.

Apprise and smtplib look names up and connect by themselves, also after a redirect. Python announces every connection
of a socket just before it is made (audit event `socket.connect`, PEP 578), by then with the address that was looked up:
what is checked is what is connected to, so a name that answers differently a second time gains nothing.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ingest.alerts.addresses import PRIVATE_ADDRESS, is_address, is_public
from ingest.alerts.exchange import read_retry_after

if TYPE_CHECKING:
    from collections.abc import Iterator

    from requests import PreparedRequest, Response


@dataclass(slots=True)
class Connections:
    """What one attempt has done so far.

    Attributes:
        allow_private: Whether private, loopback and link-local addresses may be connected to.
        count: Connections that were begun.
        is_forbidden: Whether one was refused.
        status: Of the last answer that `requests` got; None while there is none.
        retry_after_s: How long that answer asks to wait.
    """

    allow_private: bool
    count: int = 0
    is_forbidden: bool = False
    status: int | None = None
    retry_after_s: float | None = None


_current: Final[ContextVar[Connections | None]] = ContextVar("treering_connections", default=None)
_installing: Final = threading.Lock()
_installed: Final[set[str]] = set()


@contextlib.contextmanager
def watched_connections(*, allow_private: bool) -> Iterator[Connections]:
    """Watch the connections of this thread while the context lasts.

    Args:
        allow_private: Whether private, loopback and link-local addresses may be connected to.

    Raises:
        PermissionError: Inside of the library, which takes it for a connection that failed, where an address is not
            public and must be; `is_forbidden` tells so afterwards.
    """
    _install()
    connections = Connections(allow_private)
    token = _current.set(connections)
    try:
        yield connections
    finally:
        _current.reset(token)


def _install() -> None:
    with _installing:
        if "audit" not in _installed:
            sys.addaudithook(_on_event)  # cannot be taken back, so once a process
            _installed.add("audit")
        if "requests" not in _installed and "requests" in sys.modules:
            _watch_requests()
            _installed.add("requests")


def _on_event(event: str, arguments: tuple[object, ...]) -> None:
    if event != "socket.connect":
        return
    connections = _current.get()
    if connections is None:
        return
    target = arguments[1]
    host = target[0] if isinstance(target, tuple) and target else None
    # What is not an address by now, a name or a path, would be looked up where nobody sees it.
    if not connections.allow_private and not (isinstance(host, str) and is_address(host) and is_public(host)):
        connections.is_forbidden = True
        raise PermissionError(PRIVATE_ADDRESS)
    connections.count += 1


def _watch_requests() -> None:
    from requests.adapters import HTTPAdapter

    send = HTTPAdapter.send

    def watched_send(self: HTTPAdapter, request: PreparedRequest, *args: object, **options: object) -> Response:
        response: Response = send(self, request, *args, **options)  # type: ignore[arg-type]
        connections = _current.get()
        if connections is not None:
            connections.status = response.status_code
            connections.retry_after_s = read_retry_after(response.headers.get("Retry-After"))
        return response

    HTTPAdapter.send = watched_send  # type: ignore[method-assign]
