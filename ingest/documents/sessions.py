"""One session as `get_session` returns it: money as `Decimal` in US dollars, times aware."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal

from pydantic import Field

from ingest.documents.calls import Call  # noqa: TC001
from ingest.documents.document import Document
from ingest.documents.pages import TokenKinds


class SessionKinds(TokenKinds):
    """Tokens of a model in the session's priced turns.

    Attributes:
        resent_cached_tokens: Of those that an earlier turn had sent or received, what the provider's cache gave.
        resent_uncached_tokens: The others of them.
    """

    resent_cached_tokens: int = 0
    resent_uncached_tokens: int = 0


class SessionTotals(Document):
    """Sums of all turns that the caller sees; of names at most twenty.

    Attributes:
        cost: Without `fallback_cost`; None where no turn has a price of its own.
        resent_tokens: Prompt tokens that an earlier turn had sent or received.
        first_prompt_tokens: Of the first turn that has a prompt; None without one.
        late_turns: The last quarter of the turns, rounded up.
        late_cost: What they cost.
    """

    turns: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    errors: int = 0
    cancelled: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    resent_tokens: int = 0
    cost: Decimal | None = None
    fallback_cost: Decimal = Decimal(0)
    priced_turns: int = 0
    fallback_turns: int = 0
    unpriced_turns: int = 0
    estimated_turns: int = 0
    first_prompt_tokens: int | None = None
    last_prompt_tokens: int | None = None
    late_turns: int = 0
    late_cost: Decimal | None = None
    users: tuple[str, ...] = ()
    user_count: int = 0
    tenants: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    tags: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    kinds: tuple[SessionKinds, ...] = ()

    @property
    def cost_per_turn(self) -> Decimal | None:
        """US dollars of an average turn that has a price of its own; None where none has."""
        return self.cost / self.priced_turns if self.cost is not None and self.priced_turns else None


class SessionPoint(Document):
    """A stretch of turns: the largest prompt with its cached part, what the turns cost, and what all cost so far."""

    first_turn: int
    last_turn: int
    first_at: datetime
    last_at: datetime
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cost: Decimal | None = None
    priced_turns: int = 0
    cumulative_cost: Decimal | None = None


class Session(Document):
    """Document of `get_session`.

    Attributes:
        session_id: What was asked for; the function does not repeat it.
        archived_until: Calls from before it may be in the archive and not here; None where none are.
        points: At most 200, each of equally many turns but the last.
        first_turn: Number of the first of `turns`.
        turns: One page, in order.
    """

    access: str
    session_id: str = ""
    archived_until: datetime | None = None
    has_demo_data: bool = False
    totals: SessionTotals = SessionTotals()
    points: tuple[SessionPoint, ...] = ()
    first_turn: int = 1
    turns: tuple[Call, ...] = ()
