"""What one recorded call costs: the only place that decides it, for the recorder, corrections, previews and savings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, Literal

from pricing.calls import DETAILS, usage_of
from pricing.errors import UnknownModelError
from pricing.names import families, is_openai_text, is_self_hosted
from pricing.rates import EXACT, sum_exactly
from pricing.results import Cost
from pricing.usage import UNITS

if TYPE_CHECKING:
    from pricing.book import PriceBook
    from pricing.usage import TokenUsage

Source = Literal["priced", "provider", "fallback", "unpriced"]

FALLBACK_PROVIDER: Final = "openai"
_DIFFERS_BY: Final = 2
_NO_COUNT: Final = 10**12  # what recording keeps of any larger number; no call has a thousandth of it
_ADJUSTMENT: Final = "cost:adjustment"
_CONTRADICTED: Final = "reported_cost:differs"


@dataclass(frozen=True, slots=True)
class Charge:
    """What one call costs.

    Attributes:
        total: US dollars of all that is known; None where nothing is. Below zero for a refund or credit.
        source: "priced" (the book), "provider" (what it says it charged), "fallback" (another price stands in)
            or "unpriced". Fees alone of a call whose tokens have no price are "priced", and `unknown` says the rest.
        price_id: The row that was used, None where none was.
        unknown: What was used and has no price: "tokens", "duration", "usage" or kinds of unit.
        flags: Findings for the call, `field:what` each: what is unknown, that it is an adjustment, that what was
            reported in an unknown unit differs by more than a factor of two.
    """

    total: Decimal | None
    source: Source
    price_id: str | None = None
    unknown: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def charge(call: Mapping[str, Any], book: PriceBook, fallback_model: str | None) -> Charge:
    """Decide what a recorded call costs.

    What its provider said it charged counts, in a unit that is known; else the book's price; else, for a name of
    OpenAI's kind, OpenAI's own price of it, that of the model which its name begins with, or that of the fallback
    model. Fees of tools count even where the tokens have no price.

    Args:
        call: The fields of `record_usage` that have a value, with `created_at` as text.
        book: Prices.
        fallback_model: Model of OpenAI's whose price stands in for an unknown one of theirs; None leaves it unknown.

    Raises:
        PricingError: What the call says cannot be priced: a time without a zone, a negative duration.
    """
    said = _decimal(call.get("provider_cost"))
    if said is not None:
        return Charge(said, "provider", flags=(_ADJUSTMENT,) if said < 0 else ())
    usage = usage_of(call)
    cost, source = _priced(call, usage, book, fallback_model)
    parts, unknown = _known(cost, call, usage)
    fees = _decimal(call.get("request_fees"))
    if fees is not None:
        parts = [*parts, fees]
    total = sum_exactly(parts)
    if not parts or (unknown and not total):
        return Charge(None, "unpriced", unknown=unknown)
    flags = [f"cost:{name}_unpriced" for name in unknown]
    flags += [_CONTRADICTED] if _contradicts(call, total) else []
    return Charge(total, source, cost.price_id, unknown, tuple(flags))


def _priced(
    call: Mapping[str, Any], usage: TokenUsage, book: PriceBook, fallback_model: str | None
) -> tuple[Cost, Source]:
    """Return the book's answer, that for the fallback model, or that for the units alone."""
    model, provider = str(call.get("model", "")), str(call.get("provider", FALLBACK_PROVIDER))
    try:
        return _price(call, usage, book, model, provider), "priced"
    except UnknownModelError:
        stands_in = fallback_model is not None and is_openai_text(model) and not is_self_hosted(provider)
        # A call without any count is not free because the model that stands in would be.
        if stands_in and not (usage.is_empty and call.get("status") != "error"):
            assert fallback_model is not None
            # OpenAI's own price of a model that this provider is not known to sell is nearer than another model's, and
            # so is that of the model which the name begins with: deployments are named after what they deploy.
            for stand_in in (model, *families(model), fallback_model):
                try:
                    return _price(call, usage, book, stand_in, FALLBACK_PROVIDER), "fallback"
                except UnknownModelError:
                    continue
    units = book.price_units(model, usage.units, provider=provider, at=_instant(call))
    return Cost(None, {}, None, "unpriced", ("tokens", *units.unknown), units.known), "priced"


def _price(call: Mapping[str, Any], usage: TokenUsage, book: PriceBook, model: str, provider: str) -> Cost:
    tier, latency_ms = call.get("service_tier"), call.get("latency_ms")
    return book.price(
        model,
        usage,
        provider=provider,
        service_tier=tier if isinstance(tier, str) else None,
        duration_ms=latency_ms if isinstance(latency_ms, int | float) else None,
        at=_instant(call),
    )


def _known(cost: Cost, call: Mapping[str, Any], usage: TokenUsage) -> tuple[list[Decimal], tuple[str, ...]]:
    """Return the amounts that are certain and what is unknown: of tokens it is all or nothing."""
    if cost.total is not None:
        if (usage.is_empty and _is_uncounted(call)) or max(usage.prompt_tokens, usage.completion_tokens) >= _NO_COUNT:
            return [], ("usage",)  # what was written is charged, however much it was
        return [cost.total], ()
    if cost.unknown == ("usage",) and call.get("status") == "error" and usage.is_empty:
        return [Decimal(0)], ()  # refused before it did anything
    units = {name for name in cost.unknown if name.partition(":")[0] in UNITS}
    if len(units) == len(cost.unknown):
        return list(cost.known.values()), cost.unknown
    others = {name if name in ("duration", "usage") else "tokens" for name in cost.unknown if name not in units}
    fees = [amount for name, amount in cost.known.items() if name in usage.units]
    return fees, (*sorted(others), *(name for name in cost.unknown if name in units))


def _is_uncounted(call: Mapping[str, Any]) -> bool:
    """Whether a call without tokens may have used some: it was broken off, or nobody said how many."""
    status = call.get("status")
    return status == "cancelled" or (status != "error" and call.get("usage_source") == "heuristic")


def _contradicts(call: Mapping[str, Any], total: Decimal) -> bool:
    details = call.get(DETAILS)
    reported = _decimal(details.get("reported_cost")) if isinstance(details, Mapping) else None
    if not reported or total <= 0:
        return False
    low, high = sorted((reported, total))
    return high > EXACT.multiply(low, _DIFFERS_BY)


def _instant(call: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(call["created_at"]))


def _decimal(value: object) -> Decimal | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None
