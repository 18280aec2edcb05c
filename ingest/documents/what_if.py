"""What a what-if prices anew, and the scenarios that were kept, as the database returns them."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003
from typing import Literal

from ingest.documents.document import Document


class CallsToPrice(Document):
    """Calls with a certain price of one model, tier, band of input length and judgement.

    Attributes:
        provider: Provider of the calls.
        model: Model that answered.
        service_tier: Tier that served; empty for the default.
        band: The calls' inputs are longer than this many tokens.
        waste: Bits of the judgement, see `ingest.savings.states.Waste`; without judgement where users were chosen.
        calls: How many.
        prompt_tokens: Input tokens.
        completion_tokens: Output tokens.
        cached_tokens: Input tokens read from the prompt cache.
        cache_write_tokens: Input tokens written to it.
        cache_write_1h_tokens: Part of these kept for an hour.
        reasoning_tokens: Output tokens spent on reasoning.
        cost: US dollars that were recorded.
        excess_prompt_tokens: Input beyond the plan's limit for sessions.
        excess_output_tokens: Visible output beyond the plan's limit.
        excess_reasoning_tokens: Reasoning beyond the plan's limit.
        missed_10_tokens: Input tokens that the cache could have given.
        short_lived_tokens: Tokens written for an hour where five minutes would have done.
    """

    provider: str
    model: str
    service_tier: str
    band: int
    waste: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    reasoning_tokens: int
    cost: Decimal
    excess_prompt_tokens: int
    excess_output_tokens: int
    excess_reasoning_tokens: int
    missed_10_tokens: int
    short_lived_tokens: int


class UncertainCalls(Document):
    """Calls of a model whose price is not certain.

    Attributes:
        source: fallback (priced as another model) or unpriced.
        provider: Provider of the calls.
        model: Model that answered.
        calls: How many.
        cost: US dollars at the fallback price; None for unpriced ones.
        prompt_tokens: Input tokens; None where the rollups do not tell these calls from others.
        completion_tokens: Output tokens, likewise.
        cached_tokens: Input tokens read from the prompt cache, likewise.
    """

    source: Literal["fallback", "unpriced"]
    provider: str
    model: str
    calls: int
    cost: Decimal | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None


class WhatIfBasis(Document):
    """Document of `get_calls_to_price`.

    Attributes:
        access: member, analyst or ops.
        from_time: Beginning of the first whole UTC day.
        to_time: End of the last one.
        cost: US dollars of the rollups for these days, of the calls with a certain price.
        days: Days that had calls with a certain price, oldest first.
        calls: Those calls.
        uncertain: The others.
    """

    access: str
    from_time: datetime
    to_time: datetime
    cost: Decimal
    days: tuple[date, ...]
    calls: tuple[CallsToPrice, ...]
    uncertain: tuple[UncertainCalls, ...]


class KeptScenario(Document):
    """A what-if that somebody kept.

    Attributes:
        scenario_id: Number.
        name: What people call it.
        created_by: Who kept it.
        created_at: When.
        change: Fields of `ingest.savings.what_if.Change`, shares as text.
        filters: Which calls it is about.
        about: Which judged calls among them, a key of `ingest.savings.what_if.ABOUT`; None for all.
        from_day: First UTC day that was priced anew.
        to_day: First day after.
        days: Days of these that had calls.
        units: Calls that were of use.
        cost: US dollars that all calls cost.
        changed_cost: US dollars that they would have cost.
    """

    scenario_id: int
    name: str
    created_by: str
    created_at: datetime
    change: dict[str, str]
    filters: dict[str, tuple[str, ...]]
    about: str | None
    from_day: date
    to_day: date
    days: int
    units: int
    cost: Decimal
    changed_cost: Decimal


class Scenarios(Document):
    """Document of `get_scenarios`."""

    access: str
    scenarios: tuple[KeptScenario, ...]
