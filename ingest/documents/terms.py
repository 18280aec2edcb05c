"""Terms of contracts, and the sums by day that they apply to."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003

from ingest.documents.document import Document
from pricing.terms import DaySum, Kind, Term


class StoredTerm(Document):
    """A term as stored, with the end that counts. See `pricing.terms.Term` for what the fields mean."""

    term_id: int
    kind: Kind
    valid_from: date
    valid_to: date | None = None
    provider: str | None = None
    model: str | None = None
    percent: Decimal | None = None
    amount: Decimal | None = None
    currency: str | None = None
    rate: Decimal | None = None
    name: str = ""
    source: str
    created_at: datetime
    created_by: str | None = None
    ended_by: str | None = None
    end_reason: str | None = None

    @property
    def term(self) -> Term:
        """The term as arithmetic takes it."""
        return Term(
            self.term_id, self.kind, self.valid_from, self.valid_to, self.provider, self.model, self.percent,
            self.amount, self.currency, self.rate, self.name,
        )  # fmt: skip


class Terms(Document):
    """Document of `get_terms`: every term, the oldest first."""

    terms: tuple[StoredTerm, ...]


class CostSum(Document):
    """What one model cost at list on one UTC day.

    Attributes:
        day: UTC day.
        provider: Provider as recorded.
        model: Model as recorded.
        cost: US dollars at known prices.
        fallback_cost: US dollars that another model's price stands in for, which `cost` leaves out.
        tokens: Input and output together.
        requests: Calls.
        unpriced_requests: Calls without a known price.
    """

    day: date
    provider: str
    model: str
    cost: Decimal
    fallback_cost: Decimal
    tokens: int
    requests: int
    unpriced_requests: int

    @property
    def day_sum(self) -> DaySum:
        """The sum as arithmetic takes it."""
        return DaySum(self.day, self.provider, self.model, self.cost, self.tokens)


class CostSums(Document):
    """Document of `get_cost_sums`, by day, provider and model."""

    sums: tuple[CostSum, ...]
