"""Tenants and tags of calls: who may say them, what is kept of them, and that nothing of them is lost."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

import ingest
from ingest.errors import ConfigurationError
from ingest.notices import FLAGS_KEY
from ingest.record import capture
from ingest.record.context import current_fields
from ingest.record.event import normalise_usage
from ingest.record.process import make_from_environment
from ingest.settings import load_settings
from tests.unit.record.fakes import FakeDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = "x" * 201


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("SUPABASE_", "TREERING_", "ENABLE_OBSERVABILITY")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TREERING_HOME", str(tmp_path))
    monkeypatch.setattr(capture._process, "_make", make_from_environment)
    monkeypatch.setattr(capture._process, "is_off", False)
    yield
    capture._process.stop(0, is_patient=False)


def record(**fields: Any) -> dict[str, Any]:
    """Record a call and return the event that reaches the database."""
    database = FakeDatabase()
    ingest.configure(database=database, flush_interval_s=3600, tags=("plan", "team"))
    event_id = ingest.record_usage(user_id="ann", model="gpt-4o", prompt_tokens=1, completion_tokens=1, **fields)
    assert ingest.flush(30)
    return database.usage[str(event_id)]


def test_an_inner_context_replaces_single_tags_of_the_outer_one() -> None:
    outer = ingest.usage_context(tenant_id="acme", tags={"plan": "free", "team": "search"})
    with outer, ingest.usage_context(tags={"plan": "pro"}):
        event = record(**current_fields())
    assert (event["tenant_id"], event["tags"]) == ("acme", {"plan": "pro", "team": "search"})
    assert "metadata" not in event


def test_a_tag_that_is_not_declared_goes_to_metadata_and_is_flagged(caplog: pytest.LogCaptureFixture) -> None:
    event = record(tags={"plan": "pro", "region": "eu", "seats": 5}, metadata={"seats": 7})
    assert event["tags"] == {"plan": "pro"}
    assert event["metadata"] == {
        "region": "eu", "seats": 7, FLAGS_KEY: ["tags.region:undeclared", "tags.seats:undeclared"],
    }  # fmt: skip
    assert "TREERING_TAGS=plan,team,region" in caplog.text


@pytest.mark.parametrize(
    ("tags", "kept", "flags"),
    [
        ({"plan": 3, "beta": True, "team": 0.5}, {"plan": "3", "beta": "true", "team": "0.5"}, []),
        ({"plan": None, "team": ""}, None, []),
        ({"plan": ["a"], "team": "b"}, {"team": "b"}, ["tags.plan:not_text"]),
        ({"plan": LONG}, {"plan": LONG[:200]}, ["tags.plan:shortened"]),
        ({"Plan": "a", "a b": "c", "": "d"}, None, ["tags.Plan:not_a_name", "tags.a b:not_a_name", "tags.:not_a_name"]),
        ({"a": "1", "b": "2", "c": "3", "d": "4"}, {"a": "1", "b": "2", "c": "3"}, ["tags.d:too_many"]),
        ("pro", None, ["tags:not_an_object"]),
        ({}, None, []),
    ],
)
def test_tags_are_at_most_three_texts_by_name(tags: object, kept: object, flags: list[str]) -> None:
    sound = {"event_id": "01932f5c-8f00-7000-8000-000000000001", "user_id": "ann", "model": "gpt-4o",
             "provider": "openai", "environment": "production", "operation": "chat", "prompt_tokens": 1,
             "completion_tokens": 1}  # fmt: skip
    event = normalise_usage({**sound, "tags": tags})
    assert event.get("tags") == kept
    assert event.get("metadata", {}) == ({FLAGS_KEY: flags} if flags else {})


def test_declared_tags_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREERING_TAGS", " Plan, team ,plan")
    assert load_settings().tags == ("plan", "team")
    assert load_settings(tags=["a"]).tags == ("a",)


@pytest.mark.parametrize("value", ["a,b,c,d", "pl an", "1st", "plán", "x" * 41])
def test_a_wrong_declaration_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TREERING_TAGS", value)
    with pytest.raises(ConfigurationError, match="TREERING_TAGS: must be at most 3 names like plan,team"):
        load_settings()
