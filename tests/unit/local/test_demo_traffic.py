from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import pytest

from ingest.local.demo_traffic import is_cost_spike, is_error_burst, route_events, usage_events

END = datetime(2026, 11, 23, 20, 30, tzinfo=UTC)
START = END - timedelta(days=90)


@pytest.fixture(scope="module")
def calls() -> list[dict[str, Any]]:
    return list(usage_events(START, END))


@pytest.fixture(scope="module")
def requests() -> list[dict[str, Any]]:
    return list(route_events(START, END))


def share(calls: list[dict[str, Any]], **wanted: object) -> float:
    return sum(all(call[name] == value for name, value in wanted.items()) for call in calls) / len(calls)


def at(call: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(call["created_at"])


def test_ninety_days_are_about_sixty_thousand_calls(calls: list[dict[str, Any]]) -> None:
    assert 50_000 < len(calls) < 80_000


def test_all_is_marked_as_demo(calls: list[dict[str, Any]], requests: list[dict[str, Any]]) -> None:
    assert {event["environment"] for event in calls + requests} == {"demo"}


def test_no_two_events_share_an_id(calls: list[dict[str, Any]], requests: list[dict[str, Any]]) -> None:
    events = calls + requests
    assert len({event["event_id"] for event in events}) == len(events)


def test_an_hour_is_always_the_same_whatever_range_it_is_part_of(calls: list[dict[str, Any]]) -> None:
    begin, end = START + timedelta(days=40), START + timedelta(days=41)
    assert list(usage_events(begin, end)) == [call for call in calls if begin <= at(call) < end]


def test_another_seed_makes_other_calls() -> None:
    begin = END - timedelta(days=1)
    assert list(usage_events(begin, END)) != list(usage_events(begin, END, seed=1))


def test_nothing_lies_outside_the_range(calls: list[dict[str, Any]], requests: list[dict[str, Any]]) -> None:
    assert all(START <= at(event) < END for event in calls + requests)


def test_a_few_users_do_most_of_the_work(calls: list[dict[str, Any]]) -> None:
    counts = Counter(call["user_id"] for call in calls)
    assert len(counts) == 41  # people and their jobs
    assert sum(count for _, count in counts.most_common(8)) > len(calls) / 2.5


def test_weekends_and_nights_are_quiet(calls: list[dict[str, Any]]) -> None:
    weekdays = Counter(at(call).weekday() for call in calls)
    hours = Counter(at(call).hour for call in calls)
    assert weekdays[5] < weekdays[1] * 0.6
    assert hours[4] < hours[15] * 0.2


def test_models_include_reasoning_embeddings_and_one_without_a_price(calls: list[dict[str, Any]]) -> None:
    models = {call["model"] for call in calls}
    assert {"gpt-4o", "gpt-4o-mini", "gpt-4.1", "o4-mini", "text-embedding-3-small", "guardian-8b"} <= models
    assert all(call["reasoning_tokens"] > 0 for call in calls if call["model"] == "o4-mini" and call["status"] == "ok")


def test_parts_never_exceed_their_whole(calls: list[dict[str, Any]]) -> None:
    assert all(call["cached_tokens"] <= call["prompt_tokens"] for call in calls)
    assert all(call["reasoning_tokens"] <= call["completion_tokens"] for call in calls)
    assert all((call["time_to_first_token_ms"] or 0) <= call["latency_ms"] for call in calls)


def test_every_prompt_fits_the_context_of_its_model(calls: list[dict[str, Any]]) -> None:
    windows = {"gpt-4o": 128_000, "gpt-4.1": 1_047_576, "o4-mini": 200_000, "text-embedding-3": 8_192, "ft:": 128_000}
    for call in calls:
        # The longest name counts: gpt-4o-mini and the snapshots have gpt-4o's window.
        window = max((name for name in windows if call["model"].startswith(name)), key=len, default=None)
        assert call["prompt_tokens"] + call["completion_tokens"] <= (windows[window] if window else 8_192)


def test_the_tutor_misses_the_cache_that_the_chat_hits(calls: list[dict[str, Any]]) -> None:
    tutor = [call for call in calls if call["feature"] == "tutor"]
    chat = [call for call in calls if call["feature"] == "chat"]
    assert sum(call["cached_tokens"] for call in tutor) == 0
    assert len({call["prefix_hash"] for call in tutor}) == 1
    assert share(chat, cached_tokens=1408) > 0.6


def test_errors_come_in_bursts_and_are_retried_within_one_group(calls: list[dict[str, Any]]) -> None:
    burst = [call for call in calls if is_error_burst(at(call))]
    calm = [call for call in calls if not is_error_burst(at(call))]
    assert share(burst, status="error") > 0.25
    assert 0.003 < share(calm, status="error") < 0.02
    groups = Counter(call["request_group_id"] for call in burst if call.get("request_group_id"))
    assert max(groups.values()) == 3


def test_a_spike_costs_many_times_an_ordinary_hour(calls: list[dict[str, Any]]) -> None:
    spike = [call for call in calls if is_cost_spike(at(call))]
    hours = len({at(call).replace(minute=0, second=0, microsecond=0) for call in spike})
    spiky = sum(call["prompt_tokens"] for call in spike) / hours
    ordinary = sum(call["prompt_tokens"] for call in calls) / (90 * 24)
    assert spiky > 5 * ordinary


def test_some_streams_are_cancelled_and_some_usage_is_guessed(calls: list[dict[str, Any]]) -> None:
    assert 0.005 < share(calls, status="cancelled") < 0.03
    own = [call for call in calls if call["feature"] != "voice"]  # whose provider reports cancelled calls too
    assert share(own, usage_source="tokenizer") == share(own, status="cancelled")
    assert share(calls, usage_source="heuristic") > 0.01


def test_latency_depends_on_model_and_length(calls: list[dict[str, Any]]) -> None:
    def latency_ms(model: str) -> float:
        return median(float(call["latency_ms"]) for call in calls if call["model"] == model and call["status"] == "ok")

    assert latency_ms("text-embedding-3-small") < latency_ms("gpt-4o-mini") < latency_ms("gpt-4o")


def test_routes_have_methods_errors_and_weights(requests: list[dict[str, Any]]) -> None:
    assert {request["method"] for request in requests} == {"GET", "POST"}
    assert {request["sample_weight"] for request in requests} == {1.0, 4.0}
    burst = [request for request in requests if is_error_burst(at(request))]
    assert share(burst, status_code=502) > 0.1
    assert share(requests, status_code=502) < 0.02
    assert all(request["time_to_first_byte_ms"] <= request["latency_ms"] for request in requests)
