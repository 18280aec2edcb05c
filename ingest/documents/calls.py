"""The page of single calls as `get_events` returns it: money as `Decimal`, times aware, newer keys ignored."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003

from pydantic import JsonValue  # noqa: TC002

from ingest.documents.document import Document
from ingest.documents.pages import Options


class Call(Document):
    """One LLM call as recorded. Token counts are inclusive, as OpenAI reports them; money is US dollars.

    The fields are the columns of the table, in the order of exports and of the archive, whose types follow from these.
    """

    event_id: str
    created_at: datetime
    received_at: datetime | None = None
    user_id: str
    tenant_id: str | None = None
    tags: dict[str, str] | None = None
    session_id: str | None = None
    feature: str | None = None
    environment: str = ""
    provider: str = ""
    model: str
    operation: str = ""
    status: str = "ok"
    error_type: str | None = None
    finish_reason: str | None = None
    streamed: bool = False
    service_tier: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    max_output_tokens: int | None = None
    usage_source: str = "reported"
    estimated_cost: Decimal | None = None
    cost_source: str = "unpriced"
    price_id: str | None = None
    provider_cost: Decimal | None = None
    request_fees: Decimal | None = None
    latency_ms: float | None = None
    time_to_first_token_ms: float | None = None
    request_group_id: str | None = None
    attempt: int = 1
    prompt_hash: str | None = None
    prefix_hash: str | None = None
    prefix_tokens: int | None = None
    prompt_blocks: str | None = None
    response_id: str | None = None
    metadata: dict[str, object] | None = None
    usage_details: dict[str, object] | None = None


class CallContext(Document):
    """Document of `get_call_context`: the calls of the same feature before a call, and its session; US dollars.

    Attributes:
        calls: How many successful calls with a price the medians are of, at most 2,000 of 7 days.
        session_place: Which call of its session it was, from 1; 0 without a session.
    """

    calls: int = 0
    median_cost: Decimal | None = None
    median_prompt_tokens: int | None = None
    median_completion_tokens: int | None = None
    session_calls: int = 0
    session_cost: Decimal | None = None
    session_place: int = 0


class Calls(Document):
    """Document of `get_events`: one page in its order. `newest_event_at` is told where the page is empty.

    Attributes:
        without_cost: On the first page under a range of costs, how many calls it leaves out because their cost is
            unknown; None for too many to look through.
    """

    access: str
    events: tuple[Call, ...] = ()
    next_cursor: str | None = None
    newest_event_at: datetime | None = None
    without_cost: int | None = None
    has_demo_data: bool = False
    options: Options = Options()


class RawCalls(Document):
    """The same page with each call as stored, for exports: every key, in the database's own words."""

    events: tuple[dict[str, JsonValue], ...] = ()
    next_cursor: str | None = None
