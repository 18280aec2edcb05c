"""What is recorded while the API answers wrongly is stored once the API is repaired: before the real PostgREST.

The table in docs/record.md is this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from ingest.record.process import make_recorder
from ingest.record.recorder import Limits
from ingest.settings import load_settings
from tests.support.api import SECRET_KEY, Answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingest.record.recorder import Recorder
    from tests.support.api import Api
    from tests.support.servers import TestDatabase

EVENTS = 3
HTML = "<html><body>Sign in to the network</body></html>"
PAGE = "text/html"

# Name, answer, what `stats().last_error` tells a person to do (empty: nothing, it passes by itself).
ANSWERS = [
    ("200 HTML", Answer(200, HTML, PAGE), "check SUPABASE_URL"),
    ("200 empty", Answer(200, ""), "check SUPABASE_URL"),
    ("200 null", Answer(200, "null"), "check SUPABASE_URL"),
    ("200 object", Answer(200, '{"ok":true}'), "check SUPABASE_URL"),
    ("200 true", Answer(200, "true"), "check SUPABASE_URL"),
    ("200 text that is a number", Answer(200, '"3"'), "check SUPABASE_URL"),
    ("200 more than was sent", Answer(200, "4000"), "check SUPABASE_URL"),
    ("204", Answer(204, ""), "check SUPABASE_URL"),
    ("301", Answer(301, "", location="https://new.example.com/rest/v1/rpc/record_usage"), "https://new.example.com"),
    ("400 HTML", Answer(400, HTML, PAGE), "the API answered 400"),
    ("401", Answer(401, '{"message":"Invalid API key"}'), "check SUPABASE_SECRET_KEY"),
    ("402", Answer(402, '{"message":"exceed_quota"}'), "billing page"),
    ("403 HTML", Answer(403, HTML, PAGE), "check SUPABASE_SECRET_KEY"),
    ("404 no function", Answer(404, '{"code":"PGRST202","message":"Could not find it"}'), "apply the migrations"),
    ("404 HTML", Answer(404, HTML, PAGE), "check SUPABASE_URL"),
    ("405", Answer(405, '{"code":"PGRST117","message":"Unsupported method"}'), "check SUPABASE_URL"),
    ("406 schema", Answer(406, '{"code":"PGRST106","message":"The schema must be one of"}'), "exposed schemas"),
    ("406 HTML", Answer(406, HTML, PAGE), "exposed schemas"),
    ("400 raised by a trigger", Answer(400, '{"code":"P0001","message":"not today"}'), "not today"),
    ("500 HTML", Answer(500, HTML, PAGE), ""),
    ("503", Answer(503, '{"message":"no upstream"}'), ""),
]


@pytest.fixture
def database(shared_database: TestDatabase) -> TestDatabase:
    """One for all tests of this module, emptied for each."""
    shared_database.execute(
        "truncate observability_internal.ai_usage_metrics, observability_internal.pending_batches,"
        " observability_internal.rejected_events"
    )
    return shared_database


@pytest.fixture
def api(shared_api: Api) -> Api:
    return shared_api


@pytest.fixture
def recorder(api: Api, database: TestDatabase, tmp_path: Path) -> Iterator[Recorder]:  # noqa: ARG001 -- emptied first
    settings = load_settings(supabase_url=api.url, supabase_secret_key=SECRET_KEY, home=tmp_path)
    recorder = make_recorder(settings, None, Limits(flush_interval_s=0.0))
    assert recorder is not None
    yield recorder
    recorder.shutdown(0)


def record(recorder: Recorder, count: int = EVENTS) -> None:
    for number in range(count):
        fields: dict[str, object] = {"model": "gpt-4o", "prompt_tokens": 150, "completion_tokens": 50}
        recorder.record(b"u", {**fields, "user_id": f"user_{number}"}, None, None)


def count_rows(database: TestDatabase) -> int:
    with psycopg.connect(database.superuser_url) as connection:
        row = connection.execute("select count(*) from observability_internal.ai_usage_metrics").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(("answer", "advice"), [pytest.param(*rest, id=name) for name, *rest in ANSWERS])
def test_nothing_is_lost_by_an_answer_that_does_not_blame_the_row(
    api: Api, database: TestDatabase, recorder: Recorder, answer: Answer, advice: str
) -> None:
    api.canned.put(Answer(200, '{"prices":[]}'))
    api.canned.put(answer)
    record(recorder)
    recorder.start()
    if advice:
        assert not recorder.flush(60)  # at once, not after a minute: the test's own limit would not wait for that
        assert advice in str(recorder.stats().last_error)
    assert recorder.flush(60)
    stats = recorder.stats()
    assert (stats.recorded, stats.stored, stats.refused, stats.pending) == (EVENTS, EVENTS, 0, 0)
    assert (stats.failed_calls, stats.last_error) == (1, None)
    assert count_rows(database) == EVENTS


def test_what_is_too_large_goes_in_halves(api: Api, database: TestDatabase, recorder: Recorder) -> None:
    api.canned.put(Answer(200, '{"prices":[]}'))
    api.canned.put(Answer(413, HTML, PAGE))
    record(recorder)
    recorder.start()
    assert recorder.flush(60)
    assert (recorder.stats().stored, recorder.stats().refused, count_rows(database)) == (EVENTS, 0, EVENTS)


def test_one_event_that_is_too_large_is_a_dead_letter(api: Api, database: TestDatabase, recorder: Recorder) -> None:
    api.canned.put(Answer(200, '{"prices":[]}'))
    api.canned.put(Answer(413, HTML, PAGE))
    record(recorder, 1)
    recorder.start()
    assert recorder.flush(60)
    assert (recorder.stats().refused, count_rows(database)) == (1, 0)
