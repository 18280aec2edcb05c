"""One session: its turns in order, its sums, and how its context grows, worked out here from the calls alone."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.errors import DatabaseError, InvalidArgumentError, PermissionDeniedError
from tests.support.events import NOON, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from tests.support.doors import Door

Event = dict[str, Any]
HOSTILE = "'); drop table x; -- <b>%s</b> $1 \\ \u202e?&=#/"
SOURCES = ("priced", "priced", "provider", "fallback", "unpriced")


def chat(turns: int, seed: int = 3, **fields: Any) -> list[Event]:
    """A session in random order of arrival, whose prompts grow and are cut now and then."""
    rng = random.Random(seed)
    prompt, found = 900, []
    for turn in range(turns):
        prompt = 400 if rng.random() < 0.1 else prompt + rng.randrange(300)
        source = rng.choice(SOURCES)
        done = rng.randrange(20, 400)
        event = usage_event(
            created_at=NOON + timedelta(seconds=40 * turn),
            session_id="s1",
            user_id=rng.choice(["user_a", "user_a", "user_b"]),
            feature=rng.choice(["chat", "chat", "title", None]),
            operation=rng.choice(["chat", "chat", "chat", "embeddings"]),
            status=rng.choice(["ok", "ok", "error", "cancelled"]),
            model=rng.choice(["gpt-4o", "o4-mini"]),
            prompt_tokens=prompt if rng.random() < 0.9 else 0,
            cached_tokens=0,
            completion_tokens=done,
            reasoning_tokens=rng.randrange(done),
            cost_source=source,
            estimated_cost=None if source == "unpriced" else f"0.{rng.randrange(1, 10**9):09d}",
            usage_source=rng.choice(["reported", "tokenizer"]),
        )
        event["cached_tokens"] = rng.randrange(prompt + 1) if event["prompt_tokens"] else 0
        found.append(event | fields)
    rng.shuffle(found)
    return found


def in_order(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda event: (str(event["created_at"]), str(event["event_id"])))


def certain(event: Event) -> Decimal | None:
    return Decimal(event["estimated_cost"]) if event["cost_source"] in ("priced", "provider") else None


def total(amounts: list[Decimal | None]) -> str | None:
    known = [amount for amount in amounts if amount is not None]
    return str(sum(known)) if known else None


def resent(events: list[Event]) -> dict[str, int]:
    """Tokens of each call that the one before it had sent or received already, by id."""
    before: dict[tuple[Any, ...], Event] = {}
    found: dict[str, int] = {}
    for event in in_order(events):
        prompt = event["prompt_tokens"]
        found[event["event_id"]] = 0
        if prompt == 0 or event["operation"] == "embeddings":
            continue
        line = (event["user_id"], event["feature"], event["operation"])
        if last := before.get(line):
            known = last["prompt_tokens"] + last["completion_tokens"] - last["reasoning_tokens"]
            is_cut = prompt < last["prompt_tokens"]
            found[event["event_id"]] = (
                event["cached_tokens"] if is_cut else max(event["cached_tokens"], min(prompt, known))
            )
        before[line] = event
    return found


def expected_totals(events: list[Event]) -> dict[str, Any]:
    ordered, sent = in_order(events), resent(events)
    late = ordered[len(ordered) - -(-len(ordered) // 4) :]
    prompts = [event["prompt_tokens"] for event in ordered if event["prompt_tokens"]]
    sources = [event["cost_source"] for event in ordered]
    return {
        "turns": len(ordered),
        "errors": sum(event["status"] == "error" for event in ordered),
        "cancelled": sum(event["status"] == "cancelled" for event in ordered),
        **{
            name: sum(event[name] for event in ordered)
            for name in ("prompt_tokens", "cached_tokens", "completion_tokens")
        },
        "resent_tokens": sum(sent.values()),
        "cost": total([certain(event) for event in ordered]),
        "fallback_cost": str(
            sum(Decimal(event["estimated_cost"]) for event in ordered if event["cost_source"] == "fallback")
        ),
        "priced_turns": sources.count("priced") + sources.count("provider"),
        "fallback_turns": sources.count("fallback"),
        "unpriced_turns": sources.count("unpriced"),
        "estimated_turns": sum(event["usage_source"] == "tokenizer" for event in ordered),
        "first_prompt_tokens": prompts[0],
        "last_prompt_tokens": prompts[-1],
        "late_turns": len(late),
        "late_cost": total([certain(event) for event in late]),
        "users": sorted({event["user_id"] for event in ordered}),
        "user_count": len({event["user_id"] for event in ordered}),
        "tenants": [],
        "features": sorted({event["feature"] for event in ordered} - {None}),
        "tags": {},
    }


def test_the_figures_of_a_session_are_those_of_its_calls(service_db: Database) -> None:
    events = chat(67)
    service_db.call("record_usage", events=[*events, *chat(5, seed=9, session_id="s2"), usage_event()])

    found: Any = service_db.call("get_session", session_id="s1", filters={"first_turn": 11, "limit": 20})

    totals = found["totals"]
    kinds = {row["model"]: row for row in totals.pop("kinds")}
    moments = totals.pop("first_at"), totals.pop("last_at")
    assert totals == expected_totals(events)
    assert [moment[:19] for moment in moments] == ["2026-05-04T12:00:00", "2026-05-04T12:44:00"]
    ordered, sent = in_order(events), resent(events)
    assert [turn["event_id"] for turn in found["turns"]] == [event["event_id"] for event in ordered[10:30]]
    assert (found["archived_until"], found["has_demo_data"], found["access"]) == (None, False, "ops")
    for model, row in kinds.items():
        of_model = [event for event in ordered if event["model"] == model and certain(event) is not None]
        assert row["requests"] == len(of_model)
        assert row["cost"] == total([certain(event) for event in of_model])
        cached = [min(sent[event["event_id"]], event["cached_tokens"]) for event in of_model]
        assert row["resent_cached_tokens"] == sum(cached)
        assert row["resent_uncached_tokens"] == sum(sent[event["event_id"]] for event in of_model) - sum(cached)
    running = Decimal(0)
    assert len(found["points"]) == 67
    for turn, (point, event) in enumerate(zip(found["points"], ordered, strict=True), start=1):
        running += certain(event) or 0
        assert (point["first_turn"], point["last_turn"]) == (turn, turn)
        assert (point["prompt_tokens"], point["cached_tokens"]) == (event["prompt_tokens"], event["cached_tokens"])
        assert point["cost"] == total([certain(event)])
        assert Decimal(point["cumulative_cost"] or 0) == running


def test_a_session_of_one_user_among_several_is_counted_alone(service_db: Database) -> None:
    events = chat(30, tenant_id="acme", tags={"plan": "pro"})
    service_db.call("record_usage", events=events)
    own = [event for event in events if event["user_id"] == "user_b"]

    found: Any = service_db.call("get_session", session_id="s1", filters={"user_id": "user_b"})

    assert found["totals"]["cost"] == expected_totals(own)["cost"]
    assert found["totals"]["resent_tokens"] == expected_totals(own)["resent_tokens"]
    assert (found["totals"]["turns"], found["totals"]["users"]) == (len(own), ["user_b"])
    assert (found["totals"]["tenants"], found["totals"]["tags"]) == (["acme"], {"plan": ["pro"]})


def test_a_long_session_is_shown_in_stretches_that_add_up_and_an_endless_one_is_refused(direct: Door) -> None:
    fill = """
        insert into observability_internal.ai_usage_metrics
          (event_id, created_at, batch_id, user_id, model, session_id,
           prompt_tokens, cached_tokens, estimated_cost, cost_source)
        select gen_random_uuid(), '2026-05-04 12:00+00'::timestamptz + n * interval '1 second', 1, 'user_a', 'gpt-4o',
          %s, n, n / 2, n * 0.000001, 'priced'
        from generate_series(1, %s) as n
    """
    service = direct.service()
    service.call("record_usage", events=[usage_event()])  # makes the month
    with psycopg.connect(direct.database.superuser_url) as connection:
        connection.execute(fill, ["long", 10_001])
        connection.execute(fill, ["endless", 50_001])

    found: Any = service.call("get_session", session_id="long", filters={"first_turn": 9_951, "limit": 200})

    # 10,001 turns in stretches of 51: 197, the last one of 5. The n-th turn costs n millionths.
    assert [(point["first_turn"], point["last_turn"]) for point in found["points"]] == [
        (first, min(first + 50, 10_001)) for first in range(1, 10_002, 51)
    ]
    assert Decimal(found["totals"]["cost"]) == Decimal(10_001 * 10_002 // 2) / 10**6
    assert sum(Decimal(point["cost"]) for point in found["points"]) == Decimal(found["totals"]["cost"])
    assert found["points"][-1]["cumulative_cost"] == found["totals"]["cost"]
    assert [(point["prompt_tokens"], point["cached_tokens"]) for point in found["points"][:2]] == [(51, 25), (102, 51)]
    assert [turn["prompt_tokens"] for turn in found["turns"]] == list(range(9_951, 10_002))
    # Each turn but the first sends all of the one before again.
    assert found["totals"]["resent_tokens"] == 10_000 * 10_001 // 2
    with pytest.raises(DatabaseError, match="more than 50000 calls"):
        service.call("get_session", session_id="endless")


def test_everybody_sees_the_calls_that_are_theirs_to_see(
    service_db: Database, viewer: Callable[..., Database], anonymous: Database
) -> None:
    service_db.call("add_member", user_id="user_ana", role="analyst")
    service_db.call("add_member", user_id="tess", role="tenant", tenant_id="acme")
    events = [
        usage_event(session_id=HOSTILE, user_id="user_a", tenant_id="acme", estimated_cost="1"),
        usage_event(session_id=HOSTILE, user_id="user_a", tenant_id="bolt", estimated_cost="2"),
        usage_event(session_id=HOSTILE, user_id="user_b", tenant_id="bolt", estimated_cost="4"),
    ]
    service_db.call("record_usage", events=events)

    def seen(database: Database, session_id: str = HOSTILE) -> tuple[str, str | None, int, list[str]]:
        found: Any = database.call("get_session", session_id=session_id)
        assert len(found["turns"]) == len(found["points"]) == found["totals"]["turns"]
        return found["access"], found["totals"]["cost"], found["totals"]["turns"], found["totals"]["users"]

    assert seen(viewer("user_ana")) == ("analyst", "7", 3, ["user_a", "user_b"])
    assert seen(viewer("user_a")) == ("member", "3", 2, ["user_a"])
    assert seen(viewer("tess")) == ("tenant", "1", 1, ["user_a"])
    assert seen(viewer("stranger")) == ("member", None, 0, [])
    assert seen(viewer("user_ana"), "another") == ("analyst", None, 0, [])
    with pytest.raises(PermissionDeniedError):
        anonymous.call("get_session", session_id=HOSTILE)


def test_months_in_the_archive_are_named_and_wrong_questions_are_refused(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[usage_event(session_id="s1")])
    with psycopg.connect(direct.database.superuser_url) as connection:
        connection.execute(
            "insert into observability_internal.archived_months (archive_id, kind, month, row_count, is_restored)"
            " select gen_random_uuid(), m.kind, m.month::date, 9, m.is_restored from (values"
            " ('usage', '2026-02-01', false), ('usage', '2026-03-01', false), ('usage', '2026-04-01', true),"
            " ('performance', '2026-04-01', false), ('usage', '2026-06-01', false)) as m (kind, month, is_restored)"
        )

    def until(session_id: str) -> str:
        found: Any = service.call("get_session", session_id=session_id)
        return str(found["archived_until"])[:10]

    assert until("s1") == "2026-04-01", "April was put back, and June came later"
    assert until("gone") == "2026-07-01", "all that is missing may hold it"
    for filters in ({"first_turn": 0}, {"limit": 201}, {"limit": 0}, {"model": "gpt-4o"}, {"first_turn": "x"}):
        with pytest.raises(InvalidArgumentError):
            service.call("get_session", session_id="s1", filters=filters)
