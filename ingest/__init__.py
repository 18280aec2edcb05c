"""Records what a product's LLM calls cost and how fast they are, without slowing them down.

`configure` once at the start, then `track` the client that calls models, or `record_usage` for each call.
"""

from ingest.errors import ConfigurationError, DatabaseError, TreeringError
from ingest.record.capture import (
    aflush,
    configure,
    flush,
    record_feedback,
    record_performance,
    record_usage,
    shutdown,
    stats,
)
from ingest.record.context import set_usage, usage_context
from ingest.record.last_call import RecordedCall, last_call
from ingest.savings.split import in_holdout
from ingest.tracking import (
    instrument,
    record_batch,
    record_response,
    stream_sse,
    track,
    track_stream,
    uninstrument,
)
from ingest.tracking.asgi import PerformanceMiddleware

__all__ = [
    "ConfigurationError",
    "DatabaseError",
    "PerformanceMiddleware",
    "RecordedCall",
    "TreeringError",
    "aflush",
    "configure",
    "flush",
    "in_holdout",
    "instrument",
    "last_call",
    "record_batch",
    "record_feedback",
    "record_performance",
    "record_response",
    "record_usage",
    "set_usage",
    "shutdown",
    "stats",
    "stream_sse",
    "track",
    "track_stream",
    "uninstrument",
    "usage_context",
]
