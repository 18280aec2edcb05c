"""Why a call cost what it cost: the price that it was charged with, explained by the price book. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dashboard.figures.price_table import RATES, explain_in_words
from ingest.documents.words import format_exact_usd, format_usd
from pricing import PricingError, TokenUsage, UnknownModelError

if TYPE_CHECKING:
    from decimal import Decimal

    from ingest.documents.calls import Call
    from pricing import Cost, Explanation, PriceBook

_PARTS: Final = {
    "uncached_input": "Input",
    "cached_input": "Cached input",
    "cache_write": "Cache write",
    "cache_write_1h": "Cache write for an hour",
    "audio_input": "Audio input",
    "cached_audio": "Cached audio input",
    "image_input": "Image input",
    "cached_image": "Cached image input",
    "text_output": "Output",
    "reasoning": "Reasoning",
    "audio_output": "Audio output",
    "image_output": "Image output",
    "request_fee": "Per request",
    "duration": "By time",
}


def explain_call(book: PriceBook, call: Call) -> tuple[list[tuple[str, str]], list[str]]:
    """Return what a call's cost consists of, as (part, amount), and why, one sentence a step.

    Args:
        book: Prices, with the customer's own.
        call: As recorded. What the book says of its time now may differ from what it was charged with: then it is said.
    """
    if call.cost_source == "provider":
        return [], ["The provider reported this cost."]
    try:
        found = book.explain(
            call.model,
            provider=call.provider,
            service_tier=call.service_tier,
            at=call.created_at,
            input_tokens=call.prompt_tokens,
        )
        cost = _price(book, call)
    except UnknownModelError:
        return [], [_unknown(call)]
    except PricingError as error:
        return [], [f"The price cannot be explained: {error}."]
    if call.cost_source == "priced" and found.price_id == call.price_id:
        return _parts(cost, call), explain_in_words(found)
    return [], [_difference(call, found, cost.total), *explain_in_words(found)]


def _price(book: PriceBook, call: Call) -> Cost:
    return book.price(
        call.model,
        _usage(call),
        provider=call.provider,
        service_tier=call.service_tier,
        duration_ms=call.latency_ms,
        at=call.created_at,
    )


def _usage(call: Call) -> TokenUsage:
    return TokenUsage(
        call.prompt_tokens,
        call.completion_tokens,
        call.cached_tokens,
        call.cache_write_tokens,
        reasoning_tokens=call.reasoning_tokens,
        audio_input_tokens=call.audio_input_tokens,
        audio_output_tokens=call.audio_output_tokens,
    )


def _parts(cost: Cost, call: Call) -> list[tuple[str, str]]:
    tokens = _usage(call).parts._asdict()
    lines = [
        (_named(name, tokens.get(name)), _priced(amount, tokens.get(name)))
        for name, amount in cost.parts.items()
        if amount
    ]
    if call.request_fees:
        lines.append(("Request fees", format_exact_usd(call.request_fees)))
    return lines


def _named(part: str, tokens: int | None) -> str:
    name = _PARTS.get(part, RATES.get(part, part))
    return f"{name}, {tokens:,} tokens" if tokens else name


def _priced(amount: Decimal, tokens: int | None) -> str:
    text = format_exact_usd(amount)
    return f"{text} ({format_usd(amount / tokens * 1_000_000)} per million)" if tokens else text


def _unknown(call: Call) -> str:
    if call.cost_source == "fallback":
        return (
            f"No price was known for {call.provider}/{call.model}: it was priced as TREERING_FALLBACK_MODEL, "
            f"with {call.price_id}."
        )
    if call.cost_source == "unpriced":
        return f"No price is known for {call.provider}/{call.model}, so its cost is unknown."
    return f"It was charged with {call.price_id}; this app's price book does not know {call.provider}/{call.model}."


def _difference(call: Call, found: Explanation, total: Decimal | None) -> str:
    charged = {
        "unpriced": "It had no price when it was recorded",
        "fallback": f"It was priced as TREERING_FALLBACK_MODEL, with {call.price_id}",
    }.get(call.cost_source, f"It was charged with {call.price_id}")
    if found.row is None:
        return f"{charged}; no price is now in force for that time."
    return f"{charged}. Today's price book gives {format_exact_usd(total)}; repricing would apply it."
