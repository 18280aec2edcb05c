"""The calls of one fact on their way through the plan: what they use now, and what that costs at list prices."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntFlag
from typing import TYPE_CHECKING, Final, Literal

from pricing.errors import PricingError
from pricing.rates import EXACT, Band, compile_band
from pricing.usage import TokenUsage

if TYPE_CHECKING:
    from datetime import datetime

    from ingest.documents.savings import SavingFact
    from pricing import PriceBook

Scenario = Literal["low", "expected", "high"]

SCENARIOS: Final[tuple[Scenario, ...]] = ("low", "expected", "high")

_ZERO: Final = Decimal(0)


class Waste(IntFlag):
    """What a call was judged to be; the bits of `observability_internal.saving_facts.waste`."""

    SUPERSEDED = 1
    FAILED = 2
    REPEATED = 4
    REPEATED_WITHIN_AN_HOUR = 8
    EMBEDDED_AGAIN = 16
    CANCELLED = 32
    JOB = 64
    HURRIED = 128
    MEASURED_BEGINNING = 256
    OTHER_UNITS = 512


@dataclass(slots=True)
class ListPrices:
    """List prices at one instant, looked up once for each model, tier and band."""

    book: PriceBook
    at: datetime
    _bands: dict[tuple[str, str, str, int], Band | None] = field(default_factory=dict)

    def band(self, provider: str, model: str, tier: str, above: int) -> Band | None:
        """Return the prices of inputs above so many tokens; None where the model or the tier has none."""
        key = (provider, model, tier, above)
        if key not in self._bands:
            self._bands[key] = self._find(provider, model, tier, above)
        return self._bands[key]

    def _find(self, provider: str, model: str, tier: str, above: int) -> Band | None:
        try:
            rates = self.book.explain(
                model, provider=provider, service_tier=tier or None, at=self.at, input_tokens=above + 1
            ).band
        except PricingError:
            return None
        return None if rates is None or rates.input is None else compile_band(rates, audio_priced_apart=False)

    def of(self, provider: str, model: str, tier: str, above: int, usage: TokenUsage, calls: int) -> Decimal | None:
        """Return US dollars of calls of one band, exactly; None where something has no price."""
        band = self.band(provider, model, tier, above)
        if band is None:
            return None
        total, _, unknown = band.charge(usage)
        if unknown:
            return None
        return EXACT.add(total, EXACT.multiply(band.request_fee, max(calls - 1, 0)))


@dataclass(slots=True)
class State:
    """The calls of a fact in one scenario, changed by one step of the plan after the other.

    Attributes:
        fact: What was recorded.
        scenario: low, expected or high.
        model: Model that answers now.
        tier: Service tier now; empty for the default.
        above: Band of input length now.
        usage: Tokens now, summed over the calls.
        is_removed: Whether the calls are not made any more.
        scale: Recorded cost by list price: discounts, and prices of the time of the call. None where there is no
            list price: then the calls can only be removed.
    """

    fact: SavingFact
    scenario: Scenario
    model: str
    tier: str
    above: int
    usage: TokenUsage
    is_removed: bool = False
    scale: Decimal | None = None

    @classmethod
    def of(cls, fact: SavingFact, scenario: Scenario, prices: ListPrices) -> State:
        """Begin with what was recorded."""
        usage, _ = TokenUsage.clamped(
            {
                "prompt_tokens": fact.prompt_tokens,
                "completion_tokens": fact.completion_tokens,
                "cached_tokens": fact.cached_tokens,
                "cache_write_tokens": fact.cache_write_tokens,
                "cache_write_1h_tokens": fact.cache_write_1h_tokens,
                "reasoning_tokens": fact.reasoning_tokens,
            }
        )
        state = cls(fact, scenario, fact.model, fact.service_tier, fact.band, usage)
        if not fact.waste & Waste.OTHER_UNITS:
            listed = state.list_cost(prices)
            state.scale = fact.cost / listed if listed else None
        return state

    @property
    def is_priced(self) -> bool:
        """Whether another way to do the same has a price."""
        return self.scale is not None and not self.is_removed

    def list_cost(self, prices: ListPrices) -> Decimal | None:
        """US dollars at list prices of the calls as they are now."""
        return prices.of(self.fact.provider, self.model, self.tier, self.above, self.usage, self.fact.calls)

    def cost(self, prices: ListPrices) -> Decimal:
        """US dollars of the calls as they are now, at the customer's scale; what was recorded where none applies."""
        if self.is_removed:
            return _ZERO
        listed = None if self.scale is None else self.list_cost(prices)
        return self.fact.cost if listed is None or self.scale is None else listed * self.scale

    def change(
        self,
        *,
        prompt: int | None = None,
        completion: int | None = None,
        cached: int | None = None,
        written: int | None = None,
        written_1h: int | None = None,
        reasoning: int | None = None,
    ) -> None:
        """Use other tokens; parts are cut to their whole."""
        now = self.usage

        def chosen(value: int | None, old: int) -> int:
            return old if value is None else max(value, 0)

        self.usage, _ = TokenUsage.clamped(
            {
                "prompt_tokens": chosen(prompt, now.prompt_tokens),
                "completion_tokens": chosen(completion, now.completion_tokens),
                "cached_tokens": chosen(cached, now.cached_tokens),
                "cache_write_tokens": chosen(written, now.cache_write_tokens),
                "cache_write_1h_tokens": chosen(written_1h, now.cache_write_1h_tokens),
                "reasoning_tokens": chosen(reasoning, now.reasoning_tokens),
            }
        )
