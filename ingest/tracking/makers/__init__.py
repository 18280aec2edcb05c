"""Other makers' APIs: how their answers read, and how their clients are watched. None of their packages is imported."""

from __future__ import annotations

import sys
from typing import Any


def track_client(client: Any, fields: dict[str, Any]) -> Any:
    """Record the calls of another maker's client; returns it, or one derived of it, or None where it is none.

    Args:
        client: Any client.
        fields: As of `usage_context`, checked.

    Raises:
        TypeError: It is a client of boto3 for another service, or one whose calls are awaited.
    """
    if "anthropic" in sys.modules:
        from ingest.tracking.makers import anthropic

        if anthropic.is_client(client):
            return anthropic.track_client(client, fields)
    if "google.genai" in sys.modules:
        from ingest.tracking.makers import genai

        if genai.is_client(client):
            return genai.track_client(client, fields)
    if "botocore" in sys.modules:
        from ingest.tracking.makers import bedrock

        if bedrock.is_client(client):
            return bedrock.track_client(client, fields)
    return None
