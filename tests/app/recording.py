"""The documents that the app reads, recorded from a database with one of everything, and the form that they have.

`tests/app/documents/<function>.json` holds them. What the app's tests make up is checked against their form, and a db
test checks their form against the real functions: a document that changes in SQL fails there, and not in the app.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.support.clockwork import DAY, Clockwork, fire
from tests.support.events import NOON, performance_event, store, usage_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from ingest.database import Argument, Database

FOLDER: Final = Path(__file__).with_name("documents")
OPS: Final = "local-ops"

# Keys below these are names from the data, not of the document.
_OPEN: Final = frozenset({"scope", "rates", "metadata", "dimensions", "evidence", "details", "query", "change", "tags"})

_START: Final = NOON.replace(hour=0)
_WINDOW: Final[dict[str, Argument]] = {"from_time": _START, "to_time": _START + timedelta(days=1)}
_RULE: Final[dict[str, Argument]] = {"name": "Draft", "metric": "spend", "threshold": "0", "window_s": 3600}

READS: Final[dict[str, dict[str, Argument]]] = {
    "backtest_rule": {"rule": _RULE, "days": 1},
    "find_alerts": {**DAY, "filters": {}},
    "get_alerts": {**DAY, "filters": {}},
    "get_calls_to_price": {**_WINDOW, "filters": {}},
    "get_cost_sums": {"from_day": "2026-05-04", "to_day": "2026-05-05"},
    "get_cost_drivers": {**_WINDOW, "filters": {"timezone": "Europe/Berlin"}},
    "get_costs": {**_WINDOW, "filters": {"timezone": "Europe/Berlin", "group_by": "model"}},
    "get_deployment": {},
    # Compared with the half day in which the data begin.
    "get_entities": {**_WINDOW, "filters": {"group_by": "user_id", "compare": "2026-05-03T12:00Z/2026-05-04T00:00Z"}},
    "get_events": {**_WINDOW, "filters": {"limit": 2}},
    "get_hours": {**_WINDOW, "filters": {"timezone": "Europe/Berlin"}},
    "get_month": {"filters": {"timezone": "Europe/Berlin"}},
    "get_overview": {**_WINDOW, "filters": {"timezone": "Europe/Berlin"}},
    "get_performance": {**_WINDOW, "filters": {"timezone": "Europe/Berlin"}},
    "get_price_catalogue": {},
    "get_prices": {},
    "get_reconciliation": {**_WINDOW, "filters": {"provider": ["openai"]}},
    "get_report_schedules": {},
    "get_rows_to_reprice": {**_WINDOW, "filters": {}, "max_rows": 2},
    "get_savings_evidence": {**_WINDOW, "filters": {}},
    "get_saving_ledger": {},
    "get_scenarios": {},
    "get_session": {"session_id": "s-1"},
    "get_settings": {},
    "get_statement_schedule": {},
    "get_status": {},
    "get_terms": {},
    "get_views": {},
    "get_usage": {**_WINDOW, "filters": {"timezone": "Europe/Berlin", "group_by": "model"}},
}
"""What the app reads, and with which arguments it is recorded."""


def seed(service: Database, ops: Database) -> None:
    """Fill an empty database with one of everything that the app shows.

    Args:
        service: Opened as service_role.
        ops: Opened as `OPS`.
    """
    service.call("add_member", user_id=OPS, role="ops")
    alerts = Clockwork(service)
    fire(alerts)  # on 23 November; what the pages show is of 4 May
    alerts.rule("requests", "0", window_s=86_400, channels=[1], group_by="model", scope={"environment": ["production"]})
    alerts.evaluate(20)
    alerts.evaluate(900)  # the first rule has nothing to measure any more: its alert ends
    first, second = alerts.claim(901, max_count=2)
    alerts.finish(first["notification_id"], 902, ok=True)
    alerts.finish(second["notification_id"], 902, ok=False, error="503 Service Unavailable")
    ops.call("acknowledge_alert", alert_id=2, note="on it")
    until = datetime.now(UTC) + timedelta(days=1)
    ops.call("silence_alerts", rule_id=2, group_key="gpt-4o", ends_at=until, note="known")
    ops.call("save_budget", budget={"name": "All", "amount": "100", "steps": ["0.5", "1"], "channels": [1]})
    store(service, *_calls())
    service.call("record_performance", events=[performance_event(), performance_event(status_code=500)])
    service.call("roll_up")
    service.call("condense_rollups")
    price: dict[str, Argument] = {
        "model": "gpt-4o",
        "valid_from": "2026-05-01",
        "rates": {"input": "2", "output": "8"},
        "source": "contract",
    }
    ops.call("add_price", price=price)
    terms: dict[str, dict[str, Argument]] = {
        "discount": {"percent": "10", "provider": "openai", "model": "gpt-4o", "valid_to": "2027-01-01"},
        "credit": {"amount": "100"},
        "currency": {"currency": "EUR", "rate": "0.9"},
    }
    for kind, term in terms.items():
        ops.call("add_term", term={"kind": kind, "valid_from": "2026-05-01", "source": "contract", **term})
    ops.call("end_term", term_id=1, valid_to="2026-12-01", reason="new contract")
    ops.call("save_view", view={"page": "costs", "name": "Ours", "query": {"model": ["gpt-4o"]}, "is_shared": True})
    service.call("save_price_catalogue", source_url="https://example.com/data.json", reader_version="0.1", content="[]")
    _save(service, ops)
    _reprice_automatically(service)
    _hand_out_statement(service, ops)
    for amount in ("3", "2.5"):  # a bill that was revised
        service.call("record_provider_costs", rows=_bill(amount))


def _save(service: Database, ops: Database) -> None:
    """Leave a suggestion that was accepted and measured, and a kept what-if."""
    about: dict[str, JsonValue] = {"provider": "openai", "model": "gpt-4o", "feature": "chat"}
    key = "batch/openai/gpt-4o/chat"
    found: dict[str, JsonValue] = {"low": "1", "expected": "2", "high": "3"}
    service.call(
        "record_savings",
        suggestions=[
            {"suggestion_key": key, "kind": "batch", "headline": "Do it", "needs_evaluation": False, **about, **found}
        ],
    )
    ops.call("decide_saving", suggestion_key=key, decision="accept", accepted_on="2026-05-04", holdout_share="0.1")
    service.call("record_saving_result", suggestion_key=key, state="measured", measured_by="holdout", **found)
    ops.call(
        "save_scenario",
        scenario={
            "name": "Smaller", "change": {"model": "gpt-4o-mini"}, "filters": {"feature": ["chat"]}, "about": "job",
            "from_day": "2026-05-04", "to_day": "2026-05-05", "days": 1, "units": 2, "cost": "2", "changed_cost": "1",
        },
    )  # fmt: skip


def _hand_out_statement(service: Database, ops: Database) -> None:
    """Leave a statement that the folder and a channel have."""
    ops.call("save_statement_schedule", schedule={"is_enabled": True, "channels": [1]})
    later: Argument = datetime.now(UTC) + timedelta(days=70)  # by then a month has ended, with its days of grace
    for _ in range(2):
        claimed: Any = service.call("claim_statement", worker="w", has_folder=True, as_of=later)
        file: JsonValue = {"name": "october.xlsx", "size_bytes": 1, "sha256": "0" * 64}
        service.call("finish_statement", claim_id=claimed["claim_id"], files=[file])


def _bill(amount: str) -> list[dict[str, JsonValue]]:
    of_day: dict[str, JsonValue] = {"day": "2026-05-04", "source": "api"}
    cost: dict[str, JsonValue] = {**of_day, "kind": "cost", "currency": "usd"}
    usage: dict[str, JsonValue] = {**of_day, "kind": "usage", "model": "gpt-4o", "service_tier": "flex"}
    return [
        {**cost, "line_item": "gpt-4o, input", "item": "input", "model": "gpt-4o", "amount": amount, "tokens": "4000"},
        {**cost, "line_item": "web search", "item": "search", "charge": "fee", "amount": "1"},
        {**usage, "requests": 2, "input_tokens": 4000, "output_tokens": 0},
    ]


def _reprice_automatically(service: Database) -> None:
    """Leave a run as the worker makes them by itself, of one call."""
    window: dict[str, Argument] = {
        "from_time": _START,
        "to_time": _START + timedelta(days=1),
        "filters": {"automatic": []},
    }
    run: Any = service.call("start_reprice", **window, price_fingerprint="f", requested_by="treering", reason=None)
    page: Any = service.call("get_rows_to_reprice", **window)
    (row,) = page["rows"]
    change = {
        "event_id": row["event_id"],
        "created_at": row["created_at"],
        "old_cost": None,
        "new_cost": None,
        "old_cost_source": "unpriced",
        "new_cost_source": "unpriced",
        "new_price_id": "none",
    }
    service.call("apply_reprice", run_id=run["run_id"], changes=[change], progress={"rows": 1, "is_last": True})


def record(ops: Database) -> Iterator[tuple[str, Any]]:
    """Yield each function with its document, read as `OPS`."""
    for function, arguments in READS.items():
        yield function, ops.call(function, **arguments)


@cache
def recorded(function: str) -> Any:
    """Return a recorded document."""
    return json.loads((FOLDER / f"{function}.json").read_text(encoding="utf-8"))


def differences(expected: Any, found: Any, *, is_whole: bool, path: str = "") -> list[str]:
    """Name the places where a document has another form: another key, or another kind of value; null fits any.

    Args:
        expected: The document whose form counts.
        found: The document that is examined.
        is_whole: Whether a key that is missing is a difference too.
        path: Where in the document this is.
    """
    if expected is None or found is None:
        return []
    if path.rpartition(".")[2] in _OPEN:
        return []
    if isinstance(expected, dict) and isinstance(found, dict):
        strange = (set(expected) ^ set(found)) if is_whole else (set(found) - set(expected))
        return [f"{path}.{key}" for key in sorted(strange)] + [
            difference
            for key in expected.keys() & found.keys()
            for difference in differences(expected[key], found[key], is_whole=is_whole, path=f"{path}.{key}")
        ]
    if isinstance(expected, list) and isinstance(found, list):
        whole = _merge(expected)
        several = (
            differences(whole, one, is_whole=is_whole, path=path) for one in ([_merge(found)] if is_whole else found)
        )
        return sorted({difference for one in several for difference in one}) if expected else []
    return [] if _kind(expected) == _kind(found) else [f"{path}: {_kind(found)} instead of {_kind(expected)}"]


def _merge(values: list[Any]) -> Any:
    """Return one element that has every key of a list's elements, with a value wherever one has it."""
    if not all(isinstance(value, dict) for value in values):
        return values[0] if values else None
    merged: dict[str, Any] = {}
    for value in values:
        merged |= {key: one for key, one in value.items() if one is not None or key not in merged}
    return merged


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "list" if isinstance(value, list) else "object"


def _calls() -> list[dict[str, Any]]:
    common: dict[str, Any] = {
        "session_id": "s-1",
        "metadata": {"plan": "pro"},
        "prefix_hash": "p",
        "provider": "openai",
    }
    answered = {"service_tier": "default", "finish_reason": "stop", "response_id": "r-1", "price_id": "list:1"}
    ok = usage_event(**common, **answered, prompt_tokens=2000)
    failed = usage_event(**common, created_at=NOON + timedelta(minutes=1), status="error", error_type="RateLimitError")
    before = usage_event(**common, created_at=NOON - timedelta(days=1))
    later = NOON + timedelta(hours=1)
    unpriced = usage_event(
        user_id="user_b", model="our-own", estimated_cost=None, cost_source="unpriced", created_at=later
    )
    recent = usage_event(created_at=datetime.now(UTC) - timedelta(hours=2))  # a back-test looks at the last days
    return [ok, failed, before, unpriced, recent]
