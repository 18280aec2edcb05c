"""What becomes of anything a caller may pass."""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from ingest.notices import FLAGS_KEY
from ingest.record.cleaning import clean_json
from ingest.record.encoding import PERFORMANCE, USAGE, decode, encode
from ingest.record.event import normalise_performance, normalise_usage, time_of_uuid7
from ingest.record.segment import MAX_RECORD_BYTES

EVENT_ID = "01932f5c-8f00-7000-8000-000000000001"
CREATED_AT = "2024-11-15T10:26:55.360000+00:00"

SOUND: dict[str, object] = {
    "event_id": EVENT_ID,
    "user_id": "user_1",
    "model": "gpt-4o",
    "provider": "openai",
    "environment": "production",
    "operation": "chat",
    "prompt_tokens": 10,
    "completion_tokens": 5,
}


def usage(**fields: object) -> dict[str, Any]:
    return normalise_usage({**SOUND, **fields})


def performance(**fields: object) -> dict[str, Any]:
    raw = {"event_id": EVENT_ID, "route": "/chat", "method": "POST", "status_code": 200, "latency_ms": 1.5, **fields}
    return normalise_performance({"environment": "production", **raw})


def flags(event: dict[str, Any]) -> list[str]:
    found: list[str] = event.get("metadata", {}).get(FLAGS_KEY, [])
    return found


def test_a_sound_event_is_left_as_it_is() -> None:
    assert usage(latency_ms=12.5, metadata={"team": "a"}, streamed=True) == {
        "event_id": EVENT_ID,
        "created_at": CREATED_AT,
        "user_id": "user_1",
        "model": "gpt-4o",
        "provider": "openai",
        "environment": "production",
        "operation": "chat",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "latency_ms": 12.5,
        "streamed": True,
        "metadata": {"team": "a"},
    }


@pytest.mark.parametrize(
    ("field", "value", "kept", "flag"),
    [
        ("prompt_tokens", -1, 0, "prompt_tokens:out_of_range"),
        ("prompt_tokens", None, 0, "prompt_tokens:missing"),
        ("prompt_tokens", "11", 11, None),
        ("prompt_tokens", "\x1c11 ", 11, None),
        ("prompt_tokens", 11.0, 11, None),
        ("prompt_tokens", 11.5, 11, "prompt_tokens:fraction"),
        ("prompt_tokens", math.nan, 0, "prompt_tokens:not_a_number"),
        ("prompt_tokens", True, 0, "prompt_tokens:not_a_number"),
        ("prompt_tokens", [1], 0, "prompt_tokens:not_a_number"),
        ("prompt_tokens", 10**40, 10**12, "prompt_tokens:out_of_range"),
        ("cached_tokens", 163, 10, "cached_tokens:above_whole"),
        ("cache_write_tokens", 11, 10, "cache_write_tokens:above_whole"),
        ("audio_input_tokens", 11, 10, "audio_input_tokens:above_whole"),
        ("reasoning_tokens", 6, 5, "reasoning_tokens:above_whole"),
        ("audio_output_tokens", 6, 5, "audio_output_tokens:above_whole"),
        ("max_output_tokens", -5, 0, "max_output_tokens:out_of_range"),
        ("attempt", 0, 1, "attempt:out_of_range"),
        ("user_id", None, "anonymous", "user_id:missing"),
        ("user_id", "", "anonymous", "user_id:missing"),
        ("user_id", "\0", "anonymous", "user_id:missing"),
        ("user_id", 17, "17", None),
        ("user_id", uuid.UUID("6f0c8a3e-1d52-4c3a-9f43-0a1b2c3d4e5f"), "6f0c8a3e-1d52-4c3a-9f43-0a1b2c3d4e5f", None),
        ("user_id", {"a": 1}, "anonymous", "user_id:not_text"),
        ("model", True, "unknown", "model:not_text"),
        ("session_id", "x" * 201, "x" * 200, "session_id:shortened"),
        ("session_id", "a\0b", "ab", None),
        ("session_id", ["a"], None, "session_id:not_text"),
        ("status", "done", None, "status:unknown"),
        ("usage_source", "guess", "heuristic", "usage_source:unknown"),
        ("latency_ms", -1, None, "latency_ms:out_of_range"),
        ("latency_ms", math.inf, None, "latency_ms:out_of_range"),
        ("latency_ms", math.nan, None, "latency_ms:not_a_number"),
        ("streamed", "yes", True, "streamed:not_true_or_false"),
        ("latency_ms", "12.5", 12.5, None),
        ("latency_ms", "soon", None, "latency_ms:not_a_number"),
        ("latency_ms", 1e9, None, "latency_ms:out_of_range"),
        ("provider_cost", 0, "0", None),
        ("provider_cost", 0.0001, "0.0001", None),
        ("provider_cost", "1.5e-7", "0.00000015", None),
        ("provider_cost", "1e-999999", "0", None),
        ("provider_cost", -1, "-1", "cost:adjustment"),
        ("provider_cost", "-0.5", "-0.5", "cost:adjustment"),
        ("provider_cost", "-0", "0", None),
        ("provider_cost", -1e9, None, "provider_cost:out_of_range"),
        ("provider_cost", "--1", None, "provider_cost:not_a_number"),
        ("request_fees", -1, None, "request_fees:out_of_range"),
        ("usage_details", 7, None, "usage_details:not_an_object"),
        ("usage_details", {}, None, None),
        (
            "usage_details",
            {"units": {"web_search": 2, "audio_seconds": 1.5}},
            {"units": {"web_search": 2, "audio_seconds": "1.5"}},
            None,
        ),
        ("usage_details", {"units": {"Web Search": 2}}, None, "units:unknown_name"),
        ("usage_details", {"units": {"web_search": -2}}, None, "units.web_search:out_of_range"),
        ("usage_details", {"reported_cost": "NaN"}, None, "reported_cost:not_a_number"),
        (
            "usage_details",
            {"image_input_tokens": 3, "image_output_tokens": 0, "secret": "x"},
            {"image_input_tokens": 3, "image_output_tokens": 0},
            None,
        ),
        ("provider_cost", 1e9, None, "provider_cost:out_of_range"),
        ("provider_cost", "a lot", None, "provider_cost:not_a_number"),
        ("provider_cost", True, None, "provider_cost:not_a_number"),
        ("provider_cost", [1], None, "provider_cost:not_a_number"),
        ("streamed", 1, True, None),
    ],
)
def test_what_cannot_be_right_is_put_right_and_flagged(field: str, value: object, kept: object, flag: str) -> None:
    event = usage(**{field: value})
    assert event.get(field) == kept
    assert flags(event) == ([flag] if flag else [])


def test_an_unknown_status_of_a_call_with_an_error_is_an_error() -> None:
    assert usage(status="failed", error_type="Timeout")["status"] == "error"


@pytest.mark.parametrize(
    ("field", "value", "kept", "flag"),
    [
        ("status_code", None, 500, "status_code:missing"),
        ("status_code", 99, 100, "status_code:out_of_range"),
        ("latency_ms", None, 0.0, "latency_ms:missing"),
        ("sample_weight", 0.5, None, "sample_weight:out_of_range"),
        ("sample_weight", 100, 100, None),
        ("method", "x" * 30, "x" * 20, "method:shortened"),
        ("route", None, "unknown", "route:missing"),
    ],
)
def test_a_request_is_put_right_too(field: str, value: object, kept: object, flag: str) -> None:
    event = performance(**{field: value})
    assert event.get(field) == kept
    assert flags(event) == ([flag] if flag else [])


def test_metadata_that_is_no_object_is_left_out() -> None:
    assert usage(metadata=[1])["metadata"] == {FLAGS_KEY: ["metadata:not_an_object"]}


def test_metadata_beyond_4_kib_loses_its_largest_entries_whatever_their_order() -> None:
    metadata = usage(metadata={"log": "x" * 5000, "team": "a", "note": "y" * 3000, "plan": "pro"})["metadata"]
    assert metadata == {"team": "a", "note": "y" * 3000, "plan": "pro", FLAGS_KEY: ["metadata:shortened"]}
    metadata = usage(metadata={f"key{number}": "x" * 1000 for number in range(10)})["metadata"]
    assert len(metadata) == 5  # four of 1,010 bytes each, and the flag


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"a\0": "b\0c"}, {"a": "bc"}),
        (
            [math.nan, math.inf, 0.0, 0.5, 1e300, 1e-300, 10**400],
            [None, None, 0.0, 0.5, "1e+300", "1e-300", str(10**199)],
        ),
        (object(), "<object>"),
        (None, None),
    ],
)
def test_metadata_holds_only_what_jsonb_takes(value: object, kept: object) -> None:
    assert clean_json(value) == kept


def test_metadata_is_not_nested_without_end() -> None:
    value: object = "deep"
    for _ in range(20):
        value = {"a": [value]}
    text = json.dumps(clean_json(value))
    assert text.count("{") + text.count("[") == 7
    assert "<nested>" in text


@pytest.mark.parametrize("kind", [uuid.uuid4(), uuid.UUID(int=0), uuid.UUID(int=(2**48 - 1) << 80 | 7 << 76 | 1 << 63)])
def test_only_a_uuid7_of_our_era_has_a_time(kind: uuid.UUID) -> None:
    assert time_of_uuid7(kind.int) is None


def test_the_time_of_an_event_is_that_of_its_id() -> None:
    before = datetime.now(UTC)
    event = usage(event_id=uuid7().hex)
    made_at = datetime.fromisoformat(event["created_at"])
    assert abs((made_at - before).total_seconds()) < 60
    assert made_at.microsecond % 1000 == 0


@pytest.mark.dated
def test_an_id_without_a_time_gets_the_present_one() -> None:
    event = usage(event_id=uuid.uuid4().hex)
    assert datetime.fromisoformat(event["created_at"]).tzinfo is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=10,
)
ANYTHING = JSON | st.binary(max_size=20) | st.decimals() | st.datetimes() | st.uuids() | st.just(object())
FIELDS = [
    "user_id", "model", "prompt_tokens", "completion_tokens", "session_id", "feature", "provider", "cached_tokens",
    "cache_write_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "status", "error_type",
    "latency_ms", "attempt", "max_output_tokens", "provider_cost", "request_fees", "usage_source", "metadata",
    "streamed", "usage_details",
]  # fmt: skip


@settings(deadline=None)
@given(fields=st.dictionaries(st.sampled_from(FIELDS), ANYTHING))
def test_anything_becomes_an_event_that_the_database_takes(fields: dict[str, object]) -> None:
    record = encode(USAGE, {**fields, "event_id": EVENT_ID.replace("-", "")})
    kind, event = decode(record)
    assert kind == USAGE
    text = json.dumps(event, allow_nan=False, ensure_ascii=False)
    text.encode()
    assert "\\u0000" not in text
    assert event["event_id"] == EVENT_ID
    prompt, completion = event["prompt_tokens"], event["completion_tokens"]
    assert isinstance(prompt, int)
    assert isinstance(completion, int)
    for name, whole in (("cached_tokens", prompt), ("audio_input_tokens", prompt), ("reasoning_tokens", completion)):
        part = event.get(name, 0)
        assert isinstance(part, int)
        assert 0 <= part <= whole <= 10**12
    assert len(json.dumps(event.get("metadata", {}))) <= 40_000
    assert all(len(value) <= 200 for value in event.values() if isinstance(value, str))


@settings(deadline=None)
@given(fields=st.dictionaries(st.sampled_from(FIELDS), ANYTHING))
def test_putting_right_twice_changes_nothing_more(fields: dict[str, object]) -> None:
    _, event = decode(encode(USAGE, {**fields, "event_id": EVENT_ID}))
    assert normalise_usage(event) == event


@settings(deadline=None)
@given(
    fields=st.dictionaries(st.sampled_from(["route", "method", "status_code", "latency_ms", "sample_weight"]), ANYTHING)
)
def test_any_request_becomes_one_that_the_database_takes(fields: dict[str, object]) -> None:
    _, event = decode(encode(PERFORMANCE, {**fields, "event_id": EVENT_ID}))
    assert normalise_performance(event) == event
    assert isinstance(event["status_code"], int)
    assert 100 <= event["status_code"] <= 999


class Numbered:
    def __index__(self) -> int:
        return 12


class Weighed:
    def __float__(self) -> float:
        return 2.5


class Secretive:
    def __repr__(self) -> str:
        return "the user's prompt"


class Hostile(dict[str, object]):
    def items(self) -> Any:
        raise RuntimeError("no")


def test_numbers_of_other_libraries_are_numbers() -> None:
    _, event = decode(encode(USAGE, {"event_id": EVENT_ID, "prompt_tokens": Numbered(), "latency_ms": Weighed()}))
    assert (event["prompt_tokens"], event["latency_ms"]) == (12, 2.5)


def test_money_is_kept_to_the_last_digit() -> None:
    cost = Decimal("0.00000015000000000000000001")
    _, event = decode(encode(USAGE, {"event_id": EVENT_ID, "provider_cost": cost}))
    assert event["provider_cost"] == str(format(cost, "f"))


def test_an_object_in_the_metadata_is_named_and_not_shown() -> None:
    _, event = decode(encode(USAGE, {"event_id": EVENT_ID, "metadata": {"client": Secretive()}}))
    assert event["metadata"] is not None
    assert "the user's prompt" not in json.dumps(event["metadata"])
    assert "<Secretive>" in json.dumps(event["metadata"])


def test_what_the_encoder_refuses_is_encoded_part_by_part() -> None:
    circle: list[object] = []
    circle.append(circle)
    lone = "a\ud800b"
    record = encode(
        USAGE,
        {
            "event_id": EVENT_ID,
            "session_id": lone,
            "metadata": {lone: (1, {2}), "circle": circle, "hostile": Hostile(a=1), "fine": 1},
        },
    )
    _, event = decode(record)
    assert event["session_id"] == "a?b"
    metadata = event["metadata"]
    assert isinstance(metadata, dict)
    assert metadata["a?b"] == [1, [2]]
    assert metadata["fine"] == 1


def test_a_huge_record_is_cut_down_before_it_reaches_the_journal() -> None:
    record = encode(USAGE, {**SOUND, "user_id": "é" * 10_000_000, "metadata": {"a": "x" * 10_000_000}})
    assert len(record) <= MAX_RECORD_BYTES
    _, event = decode(record)
    assert event["user_id"] == "é" * 200
    assert sorted(flags(event)) == ["metadata:shortened", "user_id:shortened"]


def test_a_record_of_a_newer_version_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        decode(b"z{}")


@pytest.mark.parametrize(
    ("said", "prompt", "kept"),
    [
        ({"provider": "anthropic", "prompt_tokens": 7, "cache_write_tokens": 10_000}, 10_007, {"cached_tokens": None}),
        (
            {"model": "claude-sonnet-4-5", "prompt_tokens": 11, "cached_tokens": 60_000, "cache_write_tokens": 900},
            60_911,
            {"cached_tokens": 60_000, "cache_write_tokens": 900},
        ),
        ({"provider": "bedrock", "prompt_tokens": 5, "cached_tokens": 20}, 25, {"cached_tokens": 20}),
        (
            {"provider": "anthropic", "prompt_tokens": 4, "usage_details": {"cache_write_1h_tokens": 4000}},
            4004,
            {"cache_write_tokens": 4000},
        ),
    ],
)
def test_counts_of_makers_that_leave_the_cache_out_are_made_whole(
    said: dict[str, Any], prompt: int, kept: dict[str, int]
) -> None:
    event = usage(**said)
    assert event["prompt_tokens"] == prompt
    assert {name: event.get(name) for name in kept} == kept
    assert "prompt_tokens:cache_added" in flags(event)


def test_parts_within_the_whole_are_taken_as_said() -> None:
    event = usage(provider="anthropic", prompt_tokens=10_007, cache_write_tokens=10_000)
    assert event["prompt_tokens"] == 10_007
    assert flags(event) == []


def test_elsewhere_parts_that_exceed_the_whole_are_cut() -> None:
    event = usage(provider="azure", model="grok-3", prompt_tokens=7, cached_tokens=163)
    assert (event["prompt_tokens"], event["cached_tokens"]) == (7, 7)
    assert flags(event) == ["cached_tokens:above_whole"]
