"""The statement of a month for finance. US dollars; None is unknown."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003

from ingest.documents.document import Document


class StatementFigures(Document):
    """Sums of calls. What is certain, at the fallback price and without a price is never added up.

    Attributes:
        requests: Calls: certain, fallback and unpriced ones together.
        prompt_tokens: Input tokens, cached ones among them.
        cached_tokens: Input tokens read from the cache.
        completion_tokens: Output tokens.
        certain_requests: Calls with a price of their own, or whose provider reported the cost.
        cost: What the certain calls cost; None when there are calls and none of them is certain.
        provider_reported_cost: Part of `cost` that providers reported.
        fees: Part of `cost` that is fees of requests; None once the calls have been archived.
        fallback_requests: Calls priced as the fallback model.
        fallback_cost: What they cost at that price, in no other sum.
        unpriced_requests: Calls whose cost is not known, in no sum.
        estimated_requests: Calls whose tokens were counted by us.
        demo_requests: Calls of generated demo data.
    """

    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    certain_requests: int
    cost: Decimal | None
    provider_reported_cost: Decimal
    fees: Decimal | None
    fallback_requests: int
    fallback_cost: Decimal
    unpriced_requests: int
    estimated_requests: int
    demo_requests: int


class StatementRow(StatementFigures):
    """One combination of the chosen dimensions.

    Attributes:
        keys: Their values in the order asked for, without user and tenant.
        user_id: The user, where users are told apart.
        tenant_id: The tenant, where tenants are told apart; empty for calls without one.
    """

    keys: tuple[str, ...]
    user_id: str | None = None
    tenant_id: str | None = None


class StatementProvider(StatementFigures):
    """What one provider's calls come to."""

    provider: str


class StatementPage(Document):
    """Document of `get_statement`.

    Attributes:
        access: The caller's: member, analyst or ops.
        from_time: Beginning.
        to_time: End, excluded.
        timezone: Zone of the month.
        generated_at: When the figures were read.
        totals: Of all rows, those of other pages too.
        providers: The same sums by provider.
        row_count: How many rows there are on all pages.
        rows: Costliest first.
    """

    access: str
    from_time: datetime
    to_time: datetime
    timezone: str
    generated_at: datetime
    totals: StatementFigures
    providers: tuple[StatementProvider, ...]
    row_count: int
    rows: tuple[StatementRow, ...]


class ExportRecord(Document):
    """A file that was handed out, see `get_exports`."""

    export_id: int
    exported_at: datetime
    exported_by: str
    via: str
    kind: str
    format: str
    from_time: datetime | None = None
    to_time: datetime | None = None
    timezone: str | None = None
    dimensions: tuple[str, ...] = ()
    row_count: int
    sha256: str | None = None


class HandedFile(Document):
    """A file that went to a target."""

    name: str
    size_bytes: int
    sha256: str


class StatementDelivery(Document):
    """The statement of a month for one target.

    Attributes:
        month: Its first day.
        target: `folder`, or `channel:` and the number of the channel.
        channel: Name of the channel; None for the folder and for a deleted channel.
        done_at: When it was handed out; None while it was not.
        attempts: How often that was tried.
        error: Why the last attempt failed; None after one that succeeded.
        next_attempt_at: When it is tried again.
    """

    month: date
    target: str
    channel: str | None = None
    done_at: datetime | None = None
    attempts: int = 0
    error: str | None = None
    next_attempt_at: datetime | None = None
    files: tuple[HandedFile, ...] = ()

    @property
    def place(self) -> str:
        """Where it goes, for people."""
        return "the folder" if self.target == "folder" else self.channel or "a deleted channel"


class StatementSchedule(Document):
    """Document of `get_statement_schedule`.

    Attributes:
        formats: Names in `ingest.costs.files.FORMATS`.
        dimensions: What lines are told apart by.
        grace_days: Days after the end of a month for late calls and bills.
        to_folder: Whether it goes to `TREERING_STATEMENT_URL`, where that is set.
        channels: Numbers of the channels that it goes to.
        deliveries: The newest.
    """

    is_enabled: bool = False
    formats: tuple[str, ...] = ("xlsx",)
    dimensions: tuple[str, ...] = ()
    timezone: str = "UTC"
    grace_days: int = 5
    to_folder: bool = True
    channels: tuple[int, ...] = ()
    deliveries: tuple[StatementDelivery, ...] = ()


class ClaimedStatement(Document):
    """A statement that is to be handed out now, of `claim_statement`."""

    claim_id: str
    month: date
    target: str
    formats: tuple[str, ...]
    dimensions: tuple[str, ...]
    timezone: str
    grace_days: int
