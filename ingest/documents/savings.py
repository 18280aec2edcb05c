"""What savings are computed from: sums of judged calls, without any text of a prompt or an answer."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003
from uuid import UUID  # noqa: TC003

from ingest.documents.document import Document


class SavingFact(Document):
    """The calls of one feature, model, tier, band of input length and judgement, summed over days.

    Attributes:
        provider: Provider of the calls.
        model: Model that answered.
        feature: Feature that asked; empty where none was given.
        operation: chat, responses, embeddings, …
        service_tier: Tier that served; empty for the default.
        band: The calls' inputs are longer than this many tokens (0, 32,000, 128,000, 200,000, 256,000, 272,000).
        waste: Bits of the judgement, see `ingest.savings.states.Waste`.
        days: Days that had such calls.
        calls: How many.
        prompt_tokens: Input tokens.
        completion_tokens: Output tokens.
        cached_tokens: Input tokens read from the prompt cache.
        cache_write_tokens: Input tokens written to it.
        cache_write_1h_tokens: Part of these kept for an hour.
        reasoning_tokens: Output tokens spent on reasoning.
        cost: US dollars that were recorded.
        cost_squares: Sum of the squares of each day's cost.
        missed_5_tokens: Input tokens that another call had at its beginning within the 5 minutes before, not cached.
        missed_10_tokens: The same within 10 minutes.
        missed_60_tokens: The same within an hour.
        first_tokens: Input tokens that would have to be written to the cache for that.
        excess_prompt_tokens: Input beyond 8,000 tokens and beyond four times the session's first prompt.
        excess_output_tokens: Visible output beyond four times the median of the feature and model on that day.
        excess_reasoning_tokens: Reasoning beyond twice the visible output.
        short_lived_tokens: Tokens written for an hour where five minutes would have done.
        cut_off: Answers that ended at their limit.
        regenerated: Answers asked for again in the same session within a minute.
        continued: Answers after which the session went on.
        tool_retries: Calls of tools that repeated an earlier one since the last question.
        liked: Answers with a thumb up.
        disliked: Answers with a thumb down.
        example_event_id: The dearest of the calls.
    """

    provider: str
    model: str
    feature: str
    operation: str
    service_tier: str
    band: int
    waste: int
    days: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    reasoning_tokens: int
    cost: Decimal
    cost_squares: Decimal
    missed_5_tokens: int
    missed_10_tokens: int
    missed_60_tokens: int
    first_tokens: int
    excess_prompt_tokens: int
    excess_output_tokens: int
    excess_reasoning_tokens: int
    short_lived_tokens: int
    cut_off: int
    regenerated: int
    continued: int
    tool_retries: int
    liked: int
    disliked: int
    example_event_id: UUID


class Judged(Document):
    """What `judge_savings` did.

    Attributes:
        days: Days that it judged.
        waiting: Days that still wait.
    """

    days: int
    waiting: int


class UserShare(Document):
    """How much of the spend one user makes.

    Attributes:
        user_id: Who.
        cost: US dollars.
        requests: Calls.
    """

    user_id: str
    cost: Decimal
    requests: int


class Evidence(Document):
    """Document of `get_savings_evidence`.

    Attributes:
        access: member, analyst or ops.
        from_time: Beginning of the first whole UTC day.
        to_time: End of the last one.
        spend: US dollars of the rollups for these days, of the calls with a certain price.
        requests: Calls of the rollups, all of them.
        days: Days that had calls with a certain price, oldest first.
        facts: What the calls were judged to be.
        users: The three users who spend most, of all calls; None for members.
    """

    access: str
    from_time: datetime
    to_time: datetime
    spend: Decimal
    requests: int
    days: tuple[date, ...]
    facts: tuple[SavingFact, ...]
    users: tuple[UserShare, ...] | None = None


class UnitCost(Document):
    """What the work of one stratum cost on one day.

    Attributes:
        day: UTC day.
        stratum: Feature and operation.
        units: Calls that were of use.
        cost: US dollars of all calls.
    """

    day: date
    stratum: str
    units: int
    cost: Decimal


class UserCost(Document):
    """What the work of one user in one stratum cost.

    Attributes:
        user_id: Who.
        stratum: Feature and operation.
        days: UTC days on which there was any.
        calls: Answered calls with a certain price.
        cost: US dollars of all calls with a certain price.
    """

    user_id: str
    stratum: str
    days: int
    calls: int
    cost: Decimal


class UserCosts(Document):
    """Document of `get_user_costs`.

    Attributes:
        part: One of so many users was read.
        users: What they cost.
    """

    part: int
    users: tuple[UserCost, ...]


class LedgerEntry(Document):
    """A suggestion and what became of it; US dollars a month.

    Attributes:
        suggestion_key: What tells it from others.
        kind: What is saved.
        provider: Provider of the calls.
        model: Model that answered.
        feature: Feature; None for all.
        headline: What to do.
        needs_evaluation: Whether answers may change.
        state: open, accepted, measured, verified, withdrawn or dismissed.
        low: Lower end of the latest figure.
        expected: The latest figure.
        high: Upper end.
        opened_at: When it was found, or found again.
        accepted_on: Day of the change.
        accepted_expected: The figure on that day.
        holdout_share: Part of the users who keep the old way by `in_holdout`; None where nobody does.
        reason: Why it was dismissed.
        measured_low: Lower end of what was measured.
        measured_expected: What was measured.
        measured_high: Upper end.
        measured_by: What it was compared with: before_after or holdout.
    """

    suggestion_key: str
    kind: str
    provider: str
    model: str
    feature: str | None
    headline: str
    needs_evaluation: bool
    state: str
    low: Decimal
    expected: Decimal
    high: Decimal
    opened_at: datetime
    accepted_on: date | None
    accepted_expected: Decimal | None
    holdout_share: Decimal | None = None
    reason: str | None
    measured_low: Decimal | None
    measured_expected: Decimal | None
    measured_high: Decimal | None
    measured_by: str | None = None


class Ledger(Document):
    """Document of `get_saving_ledger`."""

    access: str
    entries: tuple[LedgerEntry, ...]
