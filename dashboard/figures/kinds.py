"""What tokens of each kind and fees cost: the recorded cost of a model, split by its list prices. Pure."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pricing import PricingError, TokenUsage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ingest.documents.pages import ModelFees, TokenKinds
    from ingest.documents.sessions import SessionKinds
    from pricing import PriceBook

NAMES: Final = {
    "uncached_input": "Input",
    "cached_input": "Cached input",
    "cache_write": "Cache write",
    "cache_write_1h": "Cache write",
    "audio_input": "Audio and images",
    "cached_audio": "Audio and images",
    "image_input": "Audio and images",
    "cached_image": "Audio and images",
    "audio_output": "Audio and images",
    "image_output": "Audio and images",
    "text_output": "Output",
    "reasoning": "Reasoning",
    "request_fee": "Fees",
    "duration": "By time",
}
FEES: Final = "Fees"
UNSPLIT: Final = "Not split"
# What a prompt consists of, read from the provider's cache or not.
_CACHED: Final = ("cached_input", "cached_audio", "cached_image")
_UNCACHED: Final = ("uncached_input", "cache_write", "cache_write_1h", "audio_input", "image_input")


def split_by_kind(
    models: Sequence[TokenKinds],
    book: PriceBook,
    at: datetime,
    *,
    fees: Sequence[ModelFees] | None = None,
    whole: Decimal | None = None,
) -> dict[str, Decimal]:
    """Return US dollars by kind of token and of fees, the largest first; they add up to the recorded cost exactly.

    Recorded fees of tools and requests are a part of their own. The rest of a model's recorded cost is divided as the
    list prices of an average call of it are, so discounts and tiers are spread over its kinds. What the book does not
    know is not split.

    Args:
        models: Tokens and cost of each.
        book: List prices.
        at: Whose prices, aware.
        fees: Inside the cost of the models; None for unknown, which leaves them spread over the kinds.
        whole: The recorded cost of all; what `models` leave out of it is not split.
    """
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    charged: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for one in fees or ():
        charged[one.provider, one.model] += one.fees
    for model in models:
        if not model.cost:
            continue
        own = max(min(charged[model.provider, model.model], model.cost), Decimal(0))
        sums[FEES] += own
        left = cost = model.cost - own
        parts = _parts(model, book, at)
        listed = sum(parts.values(), Decimal(0))
        if not listed:
            sums[UNSPLIT] += left
            continue
        for name, amount in list(parts.items())[:-1]:
            share = round(cost * amount / listed, 12)
            sums[NAMES.get(name, name)] += share
            left -= share
        sums[NAMES.get(list(parts)[-1], UNSPLIT)] += left
    if whole is not None:
        sums[UNSPLIT] += whole - sum(sums.values(), Decimal(0))
    # That there were no fees is worth a line; that their sum is not known is not.
    shown = {name: amount for name, amount in sums.items() if amount or (name == FEES and fees is not None)}
    return dict(sorted(shown.items(), key=lambda one: -one[1]))


def resent_cost(models: Sequence[SessionKinds], book: PriceBook, at: datetime) -> Decimal | None:
    """Estimate what of a session's cost was paid for context that had been sent before; None for unknown.

    As in `split_by_kind`, a model's recorded cost is divided as the list prices of an average turn are.

    Args:
        models: Tokens and cost of each.
        book: List prices.
        at: Whose prices, aware.
    """
    known = Decimal(0)
    for model in models:
        parts = _parts(model, book, at)
        whole = sum(parts.values(), Decimal(0))
        if model.cost is None or not whole:
            return None
        cached = sum((parts.get(name, Decimal(0)) for name in _CACHED), Decimal(0))
        uncached = sum((parts.get(name, Decimal(0)) for name in _UNCACHED), Decimal(0))
        for amount, resent, tokens in (
            (cached, model.resent_cached_tokens, model.cached_tokens),
            (uncached, model.resent_uncached_tokens, model.prompt_tokens - model.cached_tokens),
        ):
            known += model.cost * amount / whole * resent / tokens if tokens else Decimal(0)
    return known if models else None


def _parts(model: TokenKinds, book: PriceBook, at: datetime) -> dict[str, Decimal]:
    calls = max(model.requests, 1)

    def mean(tokens: int) -> int:
        return tokens // calls

    # A tenth of a call's tokens would do: prices of long contexts hold for the call and not for the sum of all.
    prompt, cached, written = mean(model.prompt_tokens), mean(model.cached_tokens), mean(model.cache_write_tokens)
    completion, reasoning = mean(model.completion_tokens), mean(model.reasoning_tokens)
    try:
        usage = TokenUsage(
            prompt,
            completion,
            cached,
            written,
            reasoning_tokens=reasoning,
            # Audio that was cached is in both counts, and here it is not told apart.
            audio_input_tokens=min(mean(model.audio_input_tokens), max(prompt - cached - written, 0)),
            audio_output_tokens=min(mean(model.audio_output_tokens), completion - reasoning),
        )
        cost = book.price(model.model, usage, provider=model.provider, at=at)
    except PricingError:
        return {}
    return {name: amount for name, amount in cost.parts.items() if amount}
