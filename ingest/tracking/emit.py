"""Hands what was seen of a call to the recorder, and reports what tracking itself got wrong."""

from __future__ import annotations

from typing import Any

from ingest.notices import Notices
from ingest.record import capture

_NOTICES = Notices()


def emit(fields: dict[str, Any], counted: dict[str, Any], said: dict[str, Any]) -> None:
    """Record measured fields and counts, under what the product itself said.

    Args:
        fields: What was measured, as arguments of `record_usage`; `prefix_share` becomes the tokens of the prefix.
        counted: Token counts and charge; `flags` and `total_tokens` are no arguments and are taken out.
        said: What the product said of the call; wins over both.
    """
    counts = {name: value for name, value in counted.items() if name not in ("flags", "total_tokens")}
    known = {name: value for name, value in said.items() if value is not None}
    share = fields.pop("prefix_share", 0.0)
    if share and counts.get("prompt_tokens"):
        counts["prefix_tokens"] = int(counts["prompt_tokens"] * share)
    if "attempt" in known and fields["attempt"] > 1:
        known["attempt"] += fields["attempt"] - 1
    measured = fields.get("metadata")
    if measured:
        known["metadata"] = {**measured, **known.get("metadata", {})}
    flags = counted.get("flags")
    if flags:
        known["metadata"] = {**known.get("metadata", {}), "treering_flags": flags}
    capture.record_usage(**{**fields, **counts, **known})


def report(error: BaseException) -> None:
    """Log a fault of ours, without its message: that may hold what a user wrote."""
    _NOTICES.warn("tracking", f"a call could not be tracked in full ({type(error).__name__})")
