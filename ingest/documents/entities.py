"""The rows of the Customers page: tenants, users, tag values or sessions. US dollars; None is unknown."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal

from ingest.documents.document import Document
from ingest.documents.pages import Page


class EntityLine(Document):
    """One tenant, user, tag value or session, as a file has it.

    Attributes:
        key: Its name; empty for the calls without one.
        cost: What its calls with a price of their own cost; None where none has.
        fallback_cost: What others cost at the price of the fallback model, in no other sum.
        previous_cost: The same in the period compared with: 0 without a call, None where that is not covered by data.
        active_days: Days of the viewer's clock with a call; None of a session.
        first_seen_at: Its first call; told of sessions.
        last_seen_at: Its last call, of a session exactly, else the quarter of an hour in which it was.
        sessions: How many sessions have a call with a price; None where they were not counted.
        session_cost: What the calls with a price in them cost.
        user_id: Whose session it is, where it is one person's.
        tenant_id: Of which tenant the session is, where it is one's; empty for none.
    """

    key: str
    requests: int
    errors: int = 0
    total_tokens: int = 0
    cost: Decimal | None = None
    fallback_cost: Decimal = Decimal(0)
    fallback_requests: int = 0
    unpriced_requests: int = 0
    previous_cost: Decimal | None = None
    active_days: int | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    sessions: int | None = None
    session_cost: Decimal | None = None
    user_id: str | None = None
    tenant_id: str | None = None

    @property
    def cost_per_request(self) -> Decimal | None:
        """US dollars of an average call that has a price of its own."""
        priced = self.requests - self.fallback_requests - self.unpriced_requests
        return self.cost / priced if self.cost is not None and priced > 0 else None

    @property
    def cost_per_session(self) -> Decimal | None:
        """US dollars of an average session, of the calls in sessions alone."""
        return self.session_cost / self.sessions if self.session_cost is not None and self.sessions else None

    @property
    def cost_per_day(self) -> Decimal | None:
        """US dollars of an average day with a call."""
        return self.cost / self.active_days if self.cost is not None and self.active_days else None

    @property
    def change(self) -> Decimal | None:
        """US dollars more or less than in the period compared with."""
        return None if self.cost is None or self.previous_cost is None else self.cost - self.previous_cost

    @property
    def change_share(self) -> float | None:
        """The change as a part of what it was; None where that was nothing."""
        return float(self.change / abs(self.previous_cost)) if self.change is not None and self.previous_cost else None


class Entity(EntityLine):
    """One row with its points: cost by hour, day or week of the period, of a session call by call in their order."""

    points: tuple[Decimal | None, ...] = ()


class Matched(Document):
    """The sums of all rows that a search leaves; `uncertain_requests` are in no cost."""

    rows: int = 0
    requests: int = 0
    uncertain_requests: int = 0
    cost: Decimal | None = None


class EntityPage(Page):
    """What a page and a file of rows have in common.

    Attributes:
        group_by: tenant_id, user_id, tags.<name> or session_id.
        previous_to: When the period compared with ends.
        matched: The sums of all rows, those of other pages too.
    """

    group_by: str
    previous_to: datetime | None = None
    matched: Matched = Matched()


class Entities(EntityPage):
    """Document of `get_entities`: one page of rows; `points_from` are the beginnings of what their points are of."""

    points_from: tuple[datetime, ...] = ()
    rows: tuple[Entity, ...] = ()


class EntityLines(EntityPage):
    """The same without points, for a file."""

    rows: tuple[EntityLine, ...] = ()
