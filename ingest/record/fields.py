"""The arguments of `record_usage` that a call may have beside its user, model and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal


class UsageFields(TypedDict, total=False):
    """What is known of a call of a model; all of it may be left out.

    But for `DETAILS`, each is a column of the database. Its type says how `ingest.record.event` cleans it.

    Attributes:
        tenant_id: The customer, team or cost centre that the call is made for.
        tags: Values of the tags that `TREERING_TAGS` declares, at most three, {"plan": "pro", "team": "search"}; the
            value of any other goes to `metadata`.
        session_id: Conversation.
        feature: Part of the product.
        environment: production, staging, …
        provider: openai, azure, anthropic, …
        operation: chat, responses, embeddings, …
        cached_tokens: Input tokens read from the prompt cache.
        cache_write_tokens: Input tokens written to the prompt cache.
        reasoning_tokens: Output tokens spent on reasoning.
        audio_input_tokens: Audio input tokens.
        audio_output_tokens: Audio output tokens.
        cache_write_1h_tokens: Those of `cache_write_tokens` that are kept for an hour.
        cached_audio_tokens: Audio input tokens read from the cache.
        image_input_tokens: Image input tokens.
        cached_image_tokens: Image input tokens read from the cache.
        image_output_tokens: Image output tokens; None where text and images were not told apart.
        units: What is billed by other units than tokens, by kind: {"web_search": 2, "audio_seconds": 12.5};
            docs/prices.md names the kinds.
        service_tier: Tier that served the call.
        streamed: Whether the answer was streamed.
        status: ok, error or cancelled.
        error_type: Kind of error.
        finish_reason: Why the model stopped.
        latency_ms: Time to the end of the answer.
        time_to_first_token_ms: Time to the first token of the answer.
        request_group_id: Calls that belong to one request of the product.
        attempt: 1 for a first try, 2 for its repetition, …
        prompt_hash: Salted hash of the prompt.
        prefix_hash: Salted hash of the prompt's beginning.
        prefix_tokens: Tokens of that beginning.
        prompt_blocks: Size of the prompt and salted hashes of its beginnings, see `ingest.record.blocks`.
        max_output_tokens: Limit that was asked for.
        provider_cost: US dollars that the provider itself says it charged; counts instead of the price book. Below
            zero it is a refund or credit and marked as an adjustment.
        request_fees: US dollars of per-call fees (web search, …) that come on top of the tokens' price.
        reported_cost: What a gateway calls the cost, in a unit that is not known: kept, compared, never counted.
        response_id: The provider's id of the answer.
        usage_source: Where the counts come from: reported, tokenizer or heuristic.
        metadata: Anything else that is JSON, at most 4 KiB.
        created_at: When the call was made; without a zone it is taken as UTC. Default: now.
        event_id: The caller's own id. With its `created_at`, or if it is a UUIDv7, a repeat is stored once.
    """

    tenant_id: str | None
    tags: Mapping[str, str] | None
    session_id: str | None
    feature: str | None
    environment: str
    provider: str
    operation: str
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    cache_write_1h_tokens: int
    cached_audio_tokens: int
    image_input_tokens: int
    cached_image_tokens: int
    image_output_tokens: int | None
    units: Mapping[str, Decimal | float] | None
    service_tier: str | None
    streamed: bool
    status: str
    error_type: str | None
    finish_reason: str | None
    latency_ms: float | None
    time_to_first_token_ms: float | None
    request_group_id: str | None
    attempt: int
    prompt_hash: str | None
    prefix_hash: str | None
    prefix_tokens: int | None
    prompt_blocks: str | None
    max_output_tokens: int | None
    provider_cost: Decimal | float | str | None
    request_fees: Decimal | float | str | None
    reported_cost: Decimal | float | str | None
    response_id: str | None
    usage_source: str
    metadata: Mapping[str, object] | None
    created_at: datetime | None
    event_id: uuid.UUID | str | None


ARGUMENTS: Final = frozenset({"user_id", "model", "prompt_tokens", "completion_tokens", *UsageFields.__annotations__})
"""Every argument of `record_usage`."""

DEFAULTS: Final = {
    "feature": "chat",
    "environment": "production",
    "provider": "openai",
    "operation": "chat",
    "status": "ok",
    "attempt": 1,
    "usage_source": "reported",
}
"""What holds where an argument is left out; a count that is left out is 0, all else is unknown."""

DETAILS: Final = frozenset(
    {
        "cache_write_1h_tokens",
        "cached_audio_tokens",
        "cached_image_tokens",
        "image_input_tokens",
        "image_output_tokens",
        "reported_cost",
        "units",
    }
)
"""What few calls have: it travels in the event's `usage_details`."""

ZERO_SAYS_NOTHING: Final = frozenset(
    {
        "cached_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
        "audio_input_tokens",
        "audio_output_tokens",
        "streamed",
    }
)
"""What an event does not carry where it is 0 or false."""
