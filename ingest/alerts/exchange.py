"""One request over HTTP and what its answer means; connections go to checked addresses only."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import httpx

from ingest.alerts.addresses import PRIVATE_ADDRESS, is_public
from ingest.alerts.notification import Outcome
from ingest.errors import ForbiddenTargetError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pydantic import JsonValue

TIMEOUT_S: Final = 10.0

# Statuses that ask for another attempt later.
_RETRYABLE_STATUSES: Final = (408, 425, 429)
# A key that was just rotated or an address that is being moved: retried for an hour. Other 4xx refuse the message.
_REFUSED_STATUSES: Final = (401, 403, 404, 410)
# No service asks for longer, and nobody waits for an alert that long.
_LONGEST_RETRY_AFTER_S: Final = 6 * 3600.0
# Services explain themselves in a few hundred bytes; the rest is not read.
_LONGEST_ANSWER: Final = 16_384


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said.

    Attributes:
        status: Its HTTP status.
        retry_after_s: How long it asks to wait, in seconds; None where it does not say.
        body: The beginning of its body.
    """

    status: int
    retry_after_s: float | None = None
    body: bytes = b""

    @property
    def document(self) -> dict[str, JsonValue]:
        """The body as a JSON object; empty where it is none."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


class Exchange:
    """Sends requests, each over a connection of its own. Redirects are not followed, proxies of the environment unused.

    Args:
        allow_private: Whether private, loopback and link-local addresses may be sent to.
        timeout_s: Longest time for connecting and for each wait, in seconds.
        connect: Makes what carries the requests instead of real connections.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        timeout_s: float = TIMEOUT_S,
        connect: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._connect = connect
        self._ssl_context = httpx.create_ssl_context(trust_env=False)

    async def send(
        self, method: str, url: str, *, content: bytes, headers: dict[str, str], reads_body: bool = False
    ) -> Answer:
        """Send one request.

        Raises:
            ForbiddenTargetError: An address of the name is not public, and that is not allowed.
            httpx.TransportError: There was no answer.
        """
        # A dead address must leave time for the next one of the same name.
        timeout = httpx.Timeout(self._timeout_s, connect=self._timeout_s / 3)
        request = httpx.Request(
            method, url, content=content, headers=headers, extensions={"timeout": timeout.as_dict()}
        )
        # A transport instead of a client: httpx's client logs the address of every request.
        async with self._open() as transport:
            response = await transport.handle_async_request(request)
            try:
                body = await _read(response) if reads_body else b""
            finally:
                await response.aclose()
        return Answer(response.status_code, read_retry_after(response.headers.get("Retry-After")), body)

    def _open(self) -> httpx.AsyncBaseTransport:
        if self._connect is not None:
            return self._connect()
        connections = httpx.AsyncHTTPTransport(verify=self._ssl_context, trust_env=False)
        return GuardedTransport(connections, allow_private=self._allow_private)


async def bounded(attempt: Awaitable[Outcome], timeout_s: float) -> Outcome:
    """Await an attempt for at most a time, and turn what it raises into its outcome."""
    try:
        async with asyncio.timeout(timeout_s):
            return await attempt
    except ForbiddenTargetError as error:
        return Outcome(str(error), is_final=True)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
        return Outcome("the address is not valid", is_final=True)
    except (TimeoutError, httpx.TimeoutException):
        return Outcome(f"no response within {timeout_s:g} s")
    except httpx.ConnectError as error:
        return Outcome(f"no connection: {error}")
    except httpx.TransportError as error:
        return Outcome(f"the connection was lost before a response ({type(error).__name__})")


def judge(status: int, retry_after_s: float | None = None, said: str = "") -> Outcome:
    """Tell what a status means for the message.

    Args:
        status: HTTP status of the answer.
        retry_after_s: How long the receiver asks to wait.
        said: What it added, already without secrets.
    """
    if 200 <= status < 300:
        return Outcome()
    if 300 <= status < 400:
        return Outcome(f"answered {status}: redirects are not followed", is_final=True)
    error = f"answered {status}" + (f": {said}" if said else "")
    if status in _REFUSED_STATUSES:
        return Outcome(error, is_refused=True, retry_after_s=retry_after_s)
    is_final = 400 <= status < 500 and status not in _RETRYABLE_STATUSES
    return Outcome(error, is_final=is_final, retry_after_s=None if is_final else retry_after_s)


def read_retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """Read the header `Retry-After`, seconds or an HTTP date; at most six hours, None where it says nothing useful."""
    if header is None:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", header.strip()):
        wait_s = float(header)
    else:
        try:
            moment = parsedate_to_datetime(header)
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        wait_s = (moment - (now or datetime.now(UTC))).total_seconds()
    return min(max(wait_s, 0.0), _LONGEST_RETRY_AFTER_S)


async def _read(response: httpx.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= _LONGEST_ANSWER:
            break
    return body[:_LONGEST_ANSWER]


class GuardedTransport(httpx.AsyncBaseTransport):
    """Resolves the name itself and connects only to the addresses it has checked.

    A name that answers differently at the second look-up (DNS rebinding) gains nothing: there is none. TLS still checks
    the certificate against the name.

    Args:
        inner: Carries the request to the address.
        allow_private: Whether addresses that are not public are allowed.
        resolve: Turns name and port into addresses.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        allow_private: bool,
        resolve: Callable[[str, int], Awaitable[Sequence[str]]] | None = None,
    ) -> None:
        self._inner = inner
        self._allow_private = allow_private
        self._resolve = resolve or resolve_host

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send to the first address of the name that accepts a connection.

        Raises:
            ForbiddenTargetError: One of the addresses is not public, and that is not allowed.
            httpx.TransportError: No address could be reached, or the connection broke.
        """
        if request.url.scheme not in ("http", "https") or not request.url.raw_host:
            raise httpx.UnsupportedProtocol("only http and https addresses are allowed")
        host = request.url.raw_host.decode("ascii")
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        addresses = await self._resolve(host, port)
        if not self._allow_private and not all(map(is_public, addresses)):
            raise ForbiddenTargetError(PRIVATE_ADDRESS)
        failure: httpx.TransportError = httpx.ConnectError("the name has no address")
        for address in addresses:
            attempt = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,  # with the Host header of the name
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await self._inner.handle_async_request(attempt)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


async def resolve_host(host: str, port: int) -> list[str]:
    """Look up a name, in the order in which the system prefers its addresses.

    Raises:
        httpx.ConnectError: The name cannot be resolved.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise httpx.ConnectError("the name cannot be resolved") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
