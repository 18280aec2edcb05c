"""Records what a product's LLM calls cost and how fast they are, without slowing them down.

`configure` once at the start, then `record_usage` for each call of a model.
"""

from ingest.capture import aflush, configure, flush, record_performance, record_usage, shutdown, stats
from ingest.errors import ConfigurationError, DatabaseError, TreeringError

__all__ = [
    "ConfigurationError",
    "DatabaseError",
    "TreeringError",
    "aflush",
    "configure",
    "flush",
    "record_performance",
    "record_usage",
    "shutdown",
    "stats",
]
