"""The JSON webhook: signed after the Standard Webhooks specification, sent to checked addresses only.

The headers `webhook-id`, `webhook-timestamp` and `webhook-signature` are those of https://www.standardwebhooks.com, for
which receivers find libraries in most languages. `Idempotency-Key` repeats the id for gateways that look for it.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
import json
import socket
import time
from typing import TYPE_CHECKING

import httpx

from ingest.alerts.notification import Outcome
from ingest.errors import ForbiddenTargetError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ingest.alerts.notification import ClaimedNotification

TIMEOUT_S = 10.0

# Statuses that ask for another attempt later; every other 4xx says that the message itself is not wanted.
_RETRYABLE_STATUSES = (408, 425, 429)

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class WebhookNotifier:
    """Sends notifications as signed JSON by POST. Redirects are not followed, proxies of the environment not used.

    Args:
        allow_private: Whether private, loopback and link-local addresses may be sent to.
        timeout_s: Longest time for one attempt altogether, in seconds.
        clock: Seconds since 1970, for the signature.
        transport: What carries the requests instead of real connections.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.time,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._clock = clock
        self._transport = transport
        self._ssl_context = httpx.create_ssl_context(trust_env=False)

    async def send(self, notification: ClaimedNotification) -> Outcome:
        """Try once to send a notification; see `Notifier.send`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._post(notification)
        except ForbiddenTargetError as error:
            return Outcome(str(error), is_final=True)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
            return Outcome("the address is not valid", is_final=True)
        except (TimeoutError, httpx.TimeoutException):
            return Outcome(f"no response within {self._timeout_s:g} s")
        except httpx.ConnectError as error:
            return Outcome(f"no connection: {error}")
        except httpx.TransportError as error:
            return Outcome(f"the connection was lost before a response ({type(error).__name__})")
        return _judge(status)

    async def _post(self, notification: ClaimedNotification) -> int:
        # A transport instead of a client: httpx's client logs the address of every request.
        connections = self._transport or httpx.AsyncHTTPTransport(verify=self._ssl_context, trust_env=False)
        transport = GuardedTransport(connections, allow_private=self._allow_private)
        request = self._build_request(notification)
        async with transport:
            response = await transport.handle_async_request(request)
            await response.aclose()  # only the status counts, so the body stays unread whatever its size
        return response.status_code

    def _build_request(self, notification: ClaimedNotification) -> httpx.Request:
        key, sent_at = notification.idempotency_key, int(self._clock())
        body = json.dumps({"id": key, **notification.payload}, separators=(",", ":"), sort_keys=True).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "treering",
            "Idempotency-Key": key,
            "webhook-id": key,
            "webhook-timestamp": str(sent_at),
            "webhook-signature": sign(notification.signing_secret.get_secret_value(), key, sent_at, body),
        }
        # A dead address must leave time for the next one of the same name.
        timeout = httpx.Timeout(self._timeout_s, connect=self._timeout_s / 3)
        return httpx.Request(
            "POST",
            notification.target_url.get_secret_value(),
            content=body,
            headers=headers,
            extensions={"timeout": timeout.as_dict()},
        )


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
            raise ForbiddenTargetError("the name resolves to a private, loopback or link-local address")
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


def is_public(address: str) -> bool:
    """Tell whether an IP address belongs to the public internet, also where it is wrapped into an IPv6 one."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            embedded = ipaddress.IPv4Address(ip.packed[-4:])
        ip = embedded or ip
    return ip.is_global and not ip.is_multicast


def sign(secret: str, message_id: str, sent_at: int, body: bytes) -> str:
    """Sign a message after Standard Webhooks: HMAC-SHA256 over id, time and body.

    Args:
        secret: Base64 of the key after `whsec_`; any other text is the key itself.
        message_id: Value of the header `webhook-id`.
        sent_at: Value of the header `webhook-timestamp`: seconds since 1970.
        body: The body as sent.

    Returns:
        The value of the header `webhook-signature`.
    """
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    digest = hmac.digest(key, f"{message_id}.{sent_at}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def _judge(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome()
    if 300 <= status < 400:
        return Outcome(f"answered {status}: redirects are not followed", is_final=True)
    return Outcome(f"answered {status}", is_final=400 <= status < 500 and status not in _RETRYABLE_STATUSES)
