"""What an event cost, and the source of that cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, Inexact
from typing import TYPE_CHECKING

from pricing import PriceBook, UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import JsonValue

    from ingest.notices import Notices
    from ingest.record.event import Event

# A self-hosted model has no list price, and another provider's would be wrong: without a row the cost stays unknown.
SELF_HOSTED_PROVIDERS = frozenset({"self-hosted", "ollama", "vllm"})

_EXACT = Context(prec=60, traps=[Inexact])  # the thread's own context would round at 28 digits


@dataclass(frozen=True, slots=True)
class _Charge:
    total: Decimal
    price_id: str | None
    source: str


class Costing:
    """Adds `estimated_cost`, `cost_source` and `price_id` to usage events.

    Args:
        fallback_model: OpenAI model whose price stands in for an unknown one; None leaves the cost unknown.
        notices: Where an unknown model is reported.
        book: Returns the price book to use now; default: the one without customer rows.
    """

    def __init__(
        self, fallback_model: str | None, notices: Notices, book: Callable[[], PriceBook] = PriceBook.default
    ) -> None:
        self._fallback_model = fallback_model
        self._notices = notices
        self._book = book

    def apply(self, event: Event) -> None:
        """Charge one usage event: the provider's cost, else its price, else the fallback's price, else nothing."""
        if "provider_cost" in event:
            event["estimated_cost"] = event["provider_cost"]
            event["cost_source"] = "provider"
            return
        charge = self._charge(event)
        if charge is None:
            event["cost_source"] = "unpriced"
            return
        fees = event.get("request_fees")
        total = _EXACT.add(charge.total, Decimal(fees)) if isinstance(fees, str) else charge.total
        event["estimated_cost"] = format(total, "f")
        event["cost_source"] = charge.source
        if charge.price_id is not None:
            event["price_id"] = charge.price_id

    def _charge(self, event: Event) -> _Charge | None:
        model, provider = str(event["model"]), str(event["provider"])
        try:
            return self._price(event, model, provider, "priced")
        except UnknownModelError:
            pass
        except Exception as error:  # noqa: BLE001 -- no price is worth losing the event
            self._notices.warn(f"price {model}", f"{provider}/{model} could not be priced: {error}")
            return None
        if self._fallback_model is None or provider in SELF_HOSTED_PROVIDERS:
            self._notices.warn(f"price {model}", f"no price is known for {provider}/{model}; its cost is unknown")
            return None
        self._notices.warn(
            f"price {model}", f"no price is known for {provider}/{model}; it is priced as {self._fallback_model}"
        )
        try:
            return self._price(event, self._fallback_model, "openai", "fallback")
        except Exception as error:  # noqa: BLE001 -- as above
            self._notices.warn("fallback", f"TREERING_FALLBACK_MODEL={self._fallback_model} has no price: {error}")
            return None

    def _price(self, event: Mapping[str, JsonValue], model: str, provider: str, source: str) -> _Charge | None:
        tier, latency_ms = event.get("service_tier"), event.get("latency_ms")
        prompt, completion = _count(event, "prompt_tokens"), _count(event, "completion_tokens")
        # The price book wants disjoint parts; where reports overlap, the part named first keeps its tokens.
        cached = _count(event, "cached_tokens", prompt)
        written = _count(event, "cache_write_tokens", prompt - cached)
        reasoning = _count(event, "reasoning_tokens", completion)
        cost = self._book().price(
            model,
            prompt,
            completion,
            provider=provider,
            cached_input_tokens=cached,
            cache_write_tokens=written,
            reasoning_tokens=reasoning,
            audio_input_tokens=_count(event, "audio_input_tokens", prompt - cached - written),
            audio_output_tokens=_count(event, "audio_output_tokens", completion - reasoning),
            service_tier=tier if isinstance(tier, str) else None,
            duration_ms=latency_ms if isinstance(latency_ms, int | float) else None,
            at=datetime.fromisoformat(str(event["created_at"])),
        )
        return None if cost.total is None else _Charge(cost.total, cost.price_id, source)


def _count(event: Mapping[str, JsonValue], name: str, limit: int | None = None) -> int:
    value = event.get(name, 0)
    count = value if isinstance(value, int) else 0
    return count if limit is None else min(count, limit)
