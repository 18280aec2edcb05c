"""Calls that say nothing of what they used: unknown, never nothing."""

from __future__ import annotations

from typing import Any

import pytest
from uuid_utils.compat import uuid7

from ingest.notices import FLAGS_KEY, Notices
from ingest.prices.costing import Costing
from ingest.record.event import normalise_usage
from pricing import PriceBook


@pytest.mark.parametrize(
    ("fields", "is_unknown"),
    [
        ({"prompt_tokens": None, "completion_tokens": "many"}, True),
        ({"prompt_tokens": None, "completion_tokens": 3}, False),
        ({"prompt_tokens": 0, "completion_tokens": 0}, False),
        ({"prompt_tokens": None, "completion_tokens": None, "status": "error"}, False),
        ({"prompt_tokens": None, "completion_tokens": None, "provider_cost": "0.2"}, False),
        ({"prompt_tokens": None, "completion_tokens": None, "usage_details": {"units": {"web_search": 1}}}, False),
        ({"prompt_tokens": None, "completion_tokens": None, "provider": "anthropic", "cached_tokens": 9}, False),
    ],
)
def test_a_call_whose_counts_cannot_be_read_has_an_unknown_cost_instead_of_none(
    fields: dict[str, object], is_unknown: bool
) -> None:
    sound = {"event_id": str(uuid7()), "user_id": "user_a", "model": "gpt-4o"}
    event = normalise_usage({**sound, **fields})
    metadata: Any = event.get("metadata", {})
    flags = metadata.get(FLAGS_KEY, [])
    assert ("usage:not_reported" in flags) is is_unknown
    assert event.get("usage_source") == ("heuristic" if is_unknown else None)
    Costing("gpt-4o", Notices(), PriceBook.default).apply(event)
    assert (event["cost_source"] == "unpriced") is is_unknown
