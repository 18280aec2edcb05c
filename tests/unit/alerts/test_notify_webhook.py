from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import logging
from typing import TYPE_CHECKING

import httpx
import pytest

from ingest.alerts.addresses import PRIVATE_ADDRESS, is_public
from ingest.alerts.exchange import Exchange, GuardedTransport, read_retry_after, resolve_host
from ingest.alerts.notification import ClaimedNotification, Outcome
from ingest.alerts.notify_webhook import WebhookNotifier, sign
from ingest.errors import ForbiddenTargetError
from tests.support.servers import free_port
from tests.support.webhook_server import WebhookServer

if TYPE_CHECKING:
    from collections.abc import Sequence

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def make_notification(url: str, secret: str = SECRET) -> ClaimedNotification:
    return ClaimedNotification.model_validate(
        {
            "notification_id": 1,
            "idempotency_key": "0b2f2d3a-7a0e-4f0c-9d3c-3f8a3f6f9a11",
            "attempt": 1,
            "event": "firing",
            "channel_name": "pager",
            "target_url": url,
            "signing_secret": secret,
            "payload": {"schema": "treering.alert/1", "event": "firing", "alert": {"value": "4"}},
        }
    )


def send(url: str, *, allow_private: bool = True, timeout_s: float = 60.0) -> Outcome:
    notifier = WebhookNotifier(allow_private=allow_private, timeout_s=timeout_s, clock=lambda: 1_800_000_000.9)
    return asyncio.run(notifier.send(make_notification(url)))


def test_a_message_arrives_with_id_time_and_signature() -> None:
    with WebhookServer() as receiver:
        assert send(receiver.url) == Outcome()
    (delivery,) = receiver.deliveries
    key = "0b2f2d3a-7a0e-4f0c-9d3c-3f8a3f6f9a11"
    assert delivery.path == "/hook?key=hidden-in-the-address"
    assert delivery.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert delivery.headers["webhook-id"] == delivery.headers["Idempotency-Key"] == delivery.document["id"] == key
    assert delivery.headers["webhook-timestamp"] == "1800000000"
    assert delivery.document["schema"] == "treering.alert/1"
    expected = hmac.new(
        base64.b64decode(SECRET[6:]), key.encode() + b".1800000000." + delivery.body, hashlib.sha256
    ).digest()
    assert delivery.headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()


def test_the_signature_is_that_of_the_specification() -> None:
    # The example that the specification's own libraries are tested with.
    assert (
        sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_a_secret_without_prefix_is_the_key_itself() -> None:
    expected = hmac.new(b"sixteen characters", b"id.1.body", hashlib.sha256).digest()
    assert sign("sixteen characters", "id", 1, b"body") == "v1," + base64.b64encode(expected).decode()


@pytest.mark.parametrize("status", [200, 201, 204])
def test_every_success_counts_as_delivered(status: int) -> None:
    with WebhookServer(status) as receiver:
        assert send(receiver.url) == Outcome()


@pytest.mark.parametrize("status", [500, 503, 408, 425, 429])
def test_a_receiver_in_trouble_is_tried_again(status: int) -> None:
    with WebhookServer(status) as receiver:
        assert send(receiver.url) == Outcome(f"answered {status}")


@pytest.mark.parametrize("status", [400, 405, 413, 422])
def test_a_message_that_is_not_wanted_is_final(status: int) -> None:
    with WebhookServer(status) as receiver:
        assert send(receiver.url) == Outcome(f"answered {status}", is_final=True)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_key_or_address_that_is_not_known_is_tried_for_a_while(status: int) -> None:
    with WebhookServer(status) as receiver:
        assert send(receiver.url) == Outcome(f"answered {status}", is_refused=True)


def test_a_receiver_that_asks_to_wait_is_waited_for() -> None:
    with WebhookServer(429, headers={"Retry-After": "90"}) as receiver:
        assert send(receiver.url) == Outcome("answered 429", retry_after_s=90)


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("0", 0), ("1.5", 1.5), ("86400", 21_600), ("Thu, 26 Nov 2026 12:02:00 GMT", 120),
        ("Thu, 26 Nov 2026 11:00:00 GMT", 0), ("soon", None), (None, None), ("-5", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date_and_at_most_six_hours(header: str | None, wait_s: float | None) -> None:
    assert read_retry_after(header, dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)) == wait_s


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with WebhookServer(status) as receiver:
        assert send(receiver.url) == Outcome(f"answered {status}: redirects are not followed", is_final=True)
    assert len(receiver.deliveries) == 1


def test_a_closed_port_is_tried_again() -> None:
    outcome = send(f"http://127.0.0.1:{free_port()}/")
    assert outcome.error is not None
    assert outcome.error.startswith("no connection")
    assert not outcome.is_final


def test_a_receiver_that_hangs_up_is_tried_again() -> None:
    with WebhookServer("close") as receiver:
        assert send(receiver.url) == Outcome("the connection was lost before a response (RemoteProtocolError)")


def test_a_receiver_that_stalls_costs_no_more_than_the_timeout() -> None:
    with WebhookServer("stall") as receiver:
        assert send(receiver.url, timeout_s=0.3) == Outcome("no response within 0.3 s")


def test_an_answer_that_drips_costs_no_more_than_the_timeout() -> None:
    with WebhookServer("drip") as receiver:
        assert send(receiver.url, timeout_s=0.3) == Outcome("no response within 0.3 s")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0x7f.1"])
def test_a_private_address_is_refused_under_every_spelling(host: str) -> None:
    with WebhookServer() as receiver:
        outcome = send(f"http://{host}:{receiver.port}/", allow_private=False)
    assert outcome == Outcome(PRIVATE_ADDRESS, is_final=True)
    assert receiver.deliveries == []


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.1.1",
        "255.255.255.255",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff0e::1",
        "::ffff:10.0.0.1",
        "2002:0a00:0001::1",
        "64:ff9b::10.0.0.1",
        "2001:0:a00:1::1",
        "64:ff9b:1::1",
        "64:ff9b:1:ffff::1.1.1.1",
        "fec0::1",
        "feff::1",
        "::127.0.0.1",
        "::1",
    ],
)
def test_what_is_not_the_public_internet_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"])
def test_the_public_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("url", ["ftp://example.com/", "http:///nowhere", f"http://{'x' * 64}.com/"])
def test_an_address_that_cannot_be_used_is_final(url: str) -> None:
    assert send(url) == Outcome("the address is not valid", is_final=True)


def test_neither_address_nor_secret_is_logged_or_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), WebhookServer(500) as receiver:
        outcome = send(receiver.url)
    shown = f"{caplog.text} {outcome} {make_notification(receiver.url)!r}"
    assert "hidden-in-the-address" not in shown
    assert SECRET not in shown


class Connections(httpx.AsyncBaseTransport):
    """Stands for the network: knows which addresses answer."""

    def __init__(self, *alive: str) -> None:
        self.requests: list[httpx.Request] = []
        self._alive = alive

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.host not in self._alive:
            raise httpx.ConnectError("refused")
        return httpx.Response(204)


def request_through(connections: Connections, *addresses: str, url: str = "https://hooks.example.com/x") -> int:
    looked_up = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        looked_up.append((host, port))
        return addresses

    async def run() -> httpx.Response:
        async with GuardedTransport(connections, allow_private=False, resolve=resolve) as transport:
            return await transport.handle_async_request(httpx.Request("POST", url, content=b"{}"))

    status = asyncio.run(run()).status_code
    assert len(looked_up) == 1
    return status


def test_the_connection_goes_to_the_checked_address_and_tls_to_the_name() -> None:
    connections = Connections("1.1.1.1")
    assert request_through(connections, "1.1.1.1") == 204
    (request,) = connections.requests
    assert request.url.host == "1.1.1.1"
    assert request.headers["Host"] == "hooks.example.com"
    assert request.extensions["sni_hostname"] == "hooks.example.com"


def test_the_next_address_of_a_name_is_tried_when_one_is_dead() -> None:
    connections = Connections("1.1.1.1")
    assert request_through(connections, "2606:4700::1111", "1.1.1.1", url="http://hooks.example.com/") == 204
    assert [request.url.host for request in connections.requests] == ["2606:4700::1111", "1.1.1.1"]


def test_a_name_with_one_private_address_among_public_ones_is_refused() -> None:
    connections = Connections("1.1.1.1")
    with pytest.raises(ForbiddenTargetError):
        request_through(connections, "1.1.1.1", "10.0.0.1")
    assert connections.requests == []


def test_a_name_without_a_living_address_is_a_failed_connection() -> None:
    with pytest.raises(httpx.ConnectError, match="refused"):
        request_through(Connections(), "1.1.1.1")
    with pytest.raises(httpx.ConnectError, match="no address"):
        request_through(Connections())


def test_a_name_that_does_not_exist_is_tried_again() -> None:
    with pytest.raises(httpx.ConnectError, match="cannot be resolved"):
        asyncio.run(resolve_host("no-such-name.invalid", 443))
    assert send("https://no-such-name.invalid/") == Outcome("no connection: the name cannot be resolved")


def test_another_transport_can_carry_the_requests() -> None:
    notifier = WebhookNotifier(exchange=Exchange(connect=lambda: Connections("1.1.1.1")))
    assert asyncio.run(notifier.send(make_notification("https://1.1.1.1/"))) == Outcome()
