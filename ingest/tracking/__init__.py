"""Records the calls of models that a client library makes: `track`, `track_stream`, `stream_sse`, `record_response`."""

from ingest.tracking.client import track
from ingest.tracking.response import record_response
from ingest.tracking.sse import stream_sse, track_stream

__all__ = ["record_response", "stream_sse", "track", "track_stream"]
