"""Acknowledge and silence by a link from a message: signed, used once, expiring."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from tests.support.clockwork import Clockwork, call

if TYPE_CHECKING:
    from tests.support.doors import Door

pytestmark = pytest.mark.dated


def links_of(service: Clockwork, **rule: Any) -> dict[str, str]:
    """Let two models fire now; returns the links of the message."""
    service.channel("https://hooks.example.com/x")
    service.rule("spend", "0", window_s=7200, channels=[1], **rule)
    now = dt.datetime.now(dt.UTC)
    service.record(*(call(0, model=model, created_at=now.isoformat()) for model in ("gpt-4o", "o3")))
    service.ask("evaluate_alerts", as_of=now)
    (message,) = service.claim(None)
    links: dict[str, str] = message["links"]
    return links


def test_whoever_is_signed_in_and_has_the_link_acknowledges_once(door: Door) -> None:
    service = Clockwork(door.service())
    links = links_of(service, group_by="model")
    member = Clockwork(door.viewer("user-1"))
    about = member.ask("read_alert_link", link=links["acknowledge"])
    assert (about["action"], about["rule_name"], about["firing"], about["unacknowledged"]) == (
        "acknowledge", "spend above 0", 2, 2
    )  # fmt: skip
    assert (about["is_expired"], about["used_at"]) == (False, None)
    assert member.ask("use_alert_link", link=links["acknowledge"], note=" mine ")["used_by"] == "user-1"
    now = dt.datetime.now(dt.UTC)
    seen = service.ask("get_alerts", from_time=now - dt.timedelta(hours=1), to_time=now + dt.timedelta(hours=1))
    assert {(one["acknowledged_by"], one["acknowledge_note"]) for one in seen["firing"]} == {("user-1", "mine")}
    with pytest.raises(InvalidArgumentError, match="was used before"):
        member.ask("use_alert_link", link=links["acknowledge"])
    assert member.ask("read_alert_link", link=links["acknowledge"])["used_by"] == "user-1"
    assert member.ask("use_alert_link", link=links["silence"])["action"] == "silence"
    with pytest.raises(PermissionDeniedError):
        Clockwork(door.anonymous()).ask("read_alert_link", link=links["acknowledge"])


def test_a_silence_by_link_is_of_the_group_and_lasts_a_day(clockwork: Clockwork) -> None:
    links = links_of(clockwork)
    clockwork.ask("use_alert_link", link=links["silence"])
    now = dt.datetime.now(dt.UTC)
    (silence,) = clockwork.ask("get_alerts", from_time=now, to_time=now + dt.timedelta(hours=1))["silences"]
    length = dt.datetime.fromisoformat(silence["ends_at"]) - now
    assert abs(length - dt.timedelta(days=1)) < dt.timedelta(minutes=1)
    assert (silence["rule_id"], silence["group_key"]) == (1, None)


def test_what_we_have_not_signed_is_refused(clockwork: Clockwork) -> None:
    action, number, end, signature = links_of(clockwork)["acknowledge"].split(".")
    forged = (
        f"silence.{number}.{end}.{signature}",
        f"{action}.{int(number) + 1}.{end}.{signature}",
        f"{action}.{number}.{int(end) + 1}.{signature}",
        f"{action}.{number}.{end}.{'0' * 64}",
        "",
    )
    for link in forged:
        for function in ("read_alert_link", "use_alert_link"):
            with pytest.raises(InvalidArgumentError, match="not one of ours"):
                clockwork.ask(function, link=link)


def test_a_link_ends_after_three_days_and_its_signature_is_an_hmac(direct: Door) -> None:
    service = Clockwork(direct.service())
    action, number, end, signature = links_of(service)["acknowledge"].split(".")
    content = f"{action}.{number}.{end}"
    with psycopg.connect(direct.database.superuser_url) as connection:
        row = connection.execute("select secret from observability_internal.link_keys").fetchone()
    assert row is not None
    assert hmac.new(row[0], content.encode(), hashlib.sha256).hexdigest() == signature
    three_days = dt.datetime.now(dt.UTC).timestamp() + 3 * 86_400
    assert abs(int(end) - three_days) < 60
    expired = f"{action}.{number}.{int(end) - 4 * 86_400}"
    link = f"{expired}.{hmac.new(row[0], expired.encode(), hashlib.sha256).hexdigest()}"
    assert service.ask("read_alert_link", link=link)["is_expired"]
    with pytest.raises(InvalidArgumentError, match="has expired"):
        service.ask("use_alert_link", link=link)
