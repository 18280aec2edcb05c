from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import InvalidArgumentError
from tests.support.clockwork import NOON, Clockwork, call

if TYPE_CHECKING:
    from tests.support.doors import Door

DAY_S = 86_400
WEEK = 7 * DAY_S


def bill(clockwork: Clockwork, days_ago: int, amount: str, **fields: Any) -> None:
    day = (NOON - dt.timedelta(days=days_ago)).date().isoformat()
    line = {"day": day, "source": "api", "kind": "cost", "line_item": "gpt-4o, input", "currency": "usd", **fields}
    clockwork.database.call("record_provider_costs", rows=[{**line, "amount": amount}])


def test_a_drift_over_the_threshold_fires_and_ends_with_the_difference(service: Clockwork) -> None:
    service.rule("provider_drift", "0.05", window_s=WEEK)
    assert service.evaluate(0) == {"ok": 1}
    service.record(call(-DAY_S, cost="9"), call(-2 * DAY_S, cost="10"))
    bill(service, 1, "10")
    bill(service, 2, "10")
    assert service.evaluate(10) == {"ok": 1}
    assert service.alerts()["rules"][0]["value"] == "0.05"
    bill(service, 2, "12")
    assert service.evaluate(20) == {"fired": 1}
    (alert,) = service.alerts()["firing"]
    assert (alert["metric"], alert["sample_count"]) == ("provider_drift", 2)
    assert alert["value"].startswith("0.13636363")
    bill(service, 1, "9")
    bill(service, 2, "10")
    assert service.evaluate(30) == {"resolved": 1}


def test_a_record_above_the_bill_fires_too(clockwork: Clockwork) -> None:
    clockwork.rule("provider_drift", "0.5", window_s=WEEK)
    clockwork.record(call(-DAY_S, cost="2"))
    bill(clockwork, 1, "1")
    assert clockwork.evaluate(0) == {"fired": 1}
    assert clockwork.alerts()["firing"][0]["value"] == "1"


def test_only_whole_days_of_the_window_that_have_a_bill_count(clockwork: Clockwork) -> None:
    clockwork.rule("provider_drift", "0.05", window_s=2 * DAY_S)
    # The window from Saturday noon holds Sunday alone; Saturday and today are cut.
    clockwork.record(call(-2 * DAY_S, cost="5"), call(-DAY_S, cost="1"), call(0, cost="7"))
    bill(clockwork, 2, "500")
    assert clockwork.evaluate(0) == {"ok": 1}
    assert clockwork.alerts()["rules"][0]["value"] is None
    bill(clockwork, 1, "1")
    assert clockwork.evaluate(10) == {"ok": 1}
    assert clockwork.alerts()["rules"][0]["value"] == "0"


def test_the_minimum_sample_is_days(clockwork: Clockwork) -> None:
    clockwork.rule("provider_drift", "0", window_s=WEEK, minimum_sample=2)
    bill(clockwork, 1, "1")
    assert clockwork.evaluate(0) == {"ok": 1}
    bill(clockwork, 2, "1")
    assert clockwork.evaluate(10) == {"fired": 1}


def test_a_rule_is_of_a_provider_and_environments(direct: Door) -> None:
    service = Clockwork(direct.service())
    service.rule("provider_drift", "0.05", window_s=WEEK, scope={"provider": "azure", "environment": ["staging"]})
    service.record(
        call(-DAY_S, cost="1", provider="azure", environment="staging"), call(-DAY_S, cost="8", provider="azure")
    )
    bill(service, 1, "9", provider="openai")
    assert service.evaluate(0) == {"ok": 1}
    bill(service, 1, "1", provider="azure")
    assert service.evaluate(10) == {"ok": 1}
    assert service.alerts()["rules"][0]["value"] == "0"


@pytest.mark.parametrize(
    "fields",
    [{"window_s": DAY_S}, {"scope": {"model": ["gpt-4o"]}}, {"metric": "provider_whim"}, {"threshold": "-1"}],
)
def test_a_rule_that_could_not_be_measured_is_refused(clockwork: Clockwork, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        clockwork.ask(
            "save_alert_rule",
            rule={"name": "x", "metric": "provider_drift", "threshold": "0.05", "window_s": WEEK, **fields},
        )
