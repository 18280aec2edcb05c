"""Records the calls of models that a client library makes: `track`, `instrument`, `track_stream`, `stream_sse`."""

from ingest.tracking.batch import record_batch
from ingest.tracking.client import track
from ingest.tracking.instrument import instrument, uninstrument
from ingest.tracking.response import record_response
from ingest.tracking.sse import stream_sse, track_stream

__all__ = [
    "instrument",
    "record_batch",
    "record_response",
    "stream_sse",
    "track",
    "track_stream",
    "uninstrument",
]
