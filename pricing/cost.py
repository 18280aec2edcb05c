"""The one call that most callers need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pricing.book import DEFAULT_PROVIDER, PriceBook
from pricing.usage import NO_UNITS, TokenUsage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from pricing.results import Cost


def calculate_cost(
    model: str,
    input_tokens: int,
    output_tokens: int,
    *,
    provider: str = DEFAULT_PROVIDER,
    cached_input_tokens: int = 0,
    cache_write_tokens: int = 0,
    reasoning_tokens: int = 0,
    audio_input_tokens: int = 0,
    audio_output_tokens: int = 0,
    cache_write_1h_tokens: int = 0,
    cached_audio_tokens: int = 0,
    image_input_tokens: int = 0,
    cached_image_tokens: int = 0,
    image_output_tokens: int | None = None,
    units: Mapping[str, int | Decimal] | None = None,
    service_tier: str | None = None,
    duration_ms: Decimal | float | None = None,
    at: datetime | None = None,
    book: PriceBook | None = None,
) -> Cost:
    """Return the exact cost of one request in US dollars.

    Args:
        model: Model that answered: a name, a dated snapshot, a fine-tune, with or without "provider/" in front.
        input_tokens: All input tokens, cached, written and audio ones included, 0 or more.
        output_tokens: All output tokens, reasoning and audio ones included, 0 or more.
        provider: Provider that billed it.
        cached_input_tokens: Part of the input read from the prompt cache.
        cache_write_tokens: Part of the input written to the prompt cache.
        reasoning_tokens: Part of the output spent on reasoning, billed as output unless the book has a rate for it.
        audio_input_tokens: Part of the input that is audio.
        audio_output_tokens: Part of the output that is audio.
        cache_write_1h_tokens: As for `TokenUsage`; also the four that follow.
        cached_audio_tokens: As above.
        image_input_tokens: As above.
        cached_image_tokens: As above.
        image_output_tokens: As above.
        units: What is billed by other units, by kind: see `TokenUsage`.
        service_tier: Tier that was served ("default", "batch", "flex", "priority"); None is the default one.
        duration_ms: How long the request took, for models that are paid by the hour; None is unknown.
        at: Instant of the request (aware); None is now.
        book: Price book; None is `PriceBook.default()`.

    Returns:
        The cost, its parts and the row used; `total` is None where the price for this tier, time or kind is unknown.

    Raises:
        UnknownModelError: No layer of the book knows the model.
        PartsExceedWholeError: Parts exceed the count they belong to.
        UsageError: A count is negative or not whole, the duration is negative, or `at` has no time zone.
    """
    usage = TokenUsage(
        input_tokens, output_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens,
        audio_input_tokens, audio_output_tokens, cached_audio_tokens, image_input_tokens, cached_image_tokens,
        image_output_tokens, NO_UNITS if units is None else units,
    )  # fmt: skip
    book = book or PriceBook.default()
    return book.price(model, usage, provider=provider, service_tier=service_tier, duration_ms=duration_ms, at=at)
