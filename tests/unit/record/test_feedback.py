"""Thumbs on their way to the database."""

from __future__ import annotations

import ingest
from ingest.record.encoding import FEEDBACK, decode, encode
from ingest.testing import recorded


def test_a_thumb_is_an_event_about_another_one_and_no_call() -> None:
    with recorded() as events:
        event_id = ingest.record_usage(user_id="u", model="gpt-4o", prompt_tokens=1, completion_tokens=1)
        ingest.record_feedback(event_id, is_good=True)
        ingest.record_feedback(str(event_id), is_good=False)
    assert [(thumb["about"], thumb["rating"]) for thumb in events.feedback] == [(str(event_id), 1), (str(event_id), -1)]
    assert len(events.usage) == 1
    assert events.performance == []


def test_whatever_stands_in_the_journal_becomes_a_thumb() -> None:
    record = encode(
        FEEDBACK, {"event_id": "0190b0d800007000800000000000000f", "about": "x", "rating": "?", "user_id": "u"}
    )
    _, event = decode(record)
    assert event.keys() == {"event_id", "created_at", "about", "rating"}
    assert event["rating"] == 1
