"""The documents of the pages with figures, as their read functions return them."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003

from pydantic import Field

from ingest.documents.document import Document
from ingest.documents.prices import RepriceRun  # noqa: TC001
from ingest.documents.series import Point  # noqa: TC001


class Quantiles(Document):
    """Percentiles in milliseconds; None where nothing was measured."""

    count: int = 0
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


class Totals(Document):
    """The sums of one period.

    Attributes:
        cost: US dollars without `fallback_cost`; 0 without a call, None where no call has a sure price.
        wholly_priced_cost: Cost of the combinations of dimensions of which every call has a price.
        wholly_priced_tokens: Their tokens, the ones to divide that cost by.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    errors: int = 0
    cancelled: int = 0
    cost: Decimal | None = None
    fallback_cost: Decimal | None = None
    provider_reported_cost: Decimal | None = None
    wholly_priced_cost: Decimal | None = None
    wholly_priced_tokens: int = 0
    unpriced_requests: int = 0
    estimated_requests: int = 0
    fallback_requests: int = 0
    users: int = 0
    latency_ms: Quantiles = Quantiles()
    time_to_first_token_ms: Quantiles = Quantiles()


class Options(Document):
    """The values that occur in the data, for the filters; of tenants and of each tag at most 500."""

    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    error_types: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    tags: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    def names_of(self, dimension: str) -> tuple[str, ...]:
        """Return the values of a dimension, as `group_by` names it; none of users and tenants, who are too many."""
        known: dict[str, tuple[str, ...]] = {
            "model": self.models,
            "feature": self.features,
            "provider": self.providers,
            "environment": self.environments,
            "operation": self.operations,
            **{f"tags.{name}": values for name, values in self.tags.items()},
        }
        return known.get(dimension, ())


class Row(Document):
    """One line of a ranking. `is_other` marks the sum of all that did not fit, `keys` how many these are.

    `unpriced_requests` counts the calls whose cost is not in `cost`, those at the fallback price too.
    """

    key: str | None = None
    is_other: bool = False
    keys: int | None = None
    requests: int = 0
    total_tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    errors: int = 0
    unpriced_requests: int = 0
    cost: Decimal | None = None
    previous_cost: Decimal | None = None

    @property
    def cost_per_request(self) -> Decimal | None:
        """US dollars of an average call that has a price; None where none has."""
        priced = self.requests - self.unpriced_requests
        return self.cost / priced if self.cost is not None and priced > 0 else None


class SpeedRow(Document):
    """Speed and errors of one model, feature or route; milliseconds."""

    key: str | None = None
    is_other: bool = False
    method: str | None = None
    requests: int = 0
    errors: int = 0
    latency_p50_ms: float | None = None
    latency_p90_ms: float | None = None
    latency_p99_ms: float | None = None
    time_to_first_token_p50_ms: float | None = None
    time_to_first_token_p90_ms: float | None = None


class Page(Document):
    """What every page's document has in common.

    Attributes:
        previous_from: When the period before begins, which ends at `from_time`.
        data_begin_at: The minute of the first call of all that the viewer may see; None before it.
    """

    access: str
    from_time: datetime
    to_time: datetime
    previous_from: datetime | None = None
    data_begin_at: datetime | None = None
    bucket: str
    timezone: str
    generated_at: datetime
    newest_event_at: datetime | None = None
    pending_rows: int = 0
    has_demo_data: bool = False
    options: Options = Options()
    totals: Totals = Totals()
    previous: Totals = Totals()


class Overview(Page):
    """Document of `get_overview`."""

    series: tuple[Point, ...] = ()
    top_models: tuple[Row, ...] = ()
    top_features: tuple[Row, ...] = ()
    top_users: tuple[Row, ...] = ()
    firing_alerts: int = 0


class Usage(Page):
    """Document of `get_usage`."""

    series: tuple[Point, ...] = ()
    by_model: tuple[Row, ...] = ()
    by_feature: tuple[Row, ...] = ()
    by_user: tuple[Row, ...] = ()
    by_tenant: tuple[Row, ...] = ()
    by_tag: dict[str, tuple[Row, ...]] = Field(default_factory=dict)
    by_operation: tuple[Row, ...] = ()
    by_status: tuple[Row, ...] = ()


class TokenKinds(Document):
    """The tokens of a model by kind, inclusive as reported, and what its calls with a price cost."""

    provider: str = ""
    model: str
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    cost: Decimal | None = None


class ModelFees(Document):
    """What providers charged for searches, tools and requests beside the tokens of a model, in US dollars."""

    provider: str = ""
    model: str
    fees: Decimal


class Costs(Page):
    """Document of `get_costs`.

    Attributes:
        model_fees: Part of the cost of `token_kinds`; None where calls of the period are archived.
        repriced: What the worker corrected by itself last, within a week.
    """

    series: tuple[Point, ...] = ()
    by_model: tuple[Row, ...] = ()
    by_feature: tuple[Row, ...] = ()
    by_provider: tuple[Row, ...] = ()
    by_environment: tuple[Row, ...] = ()
    by_user: tuple[Row, ...] = ()
    by_tenant: tuple[Row, ...] = ()
    by_tag: dict[str, tuple[Row, ...]] = Field(default_factory=dict)
    token_kinds: tuple[TokenKinds, ...] = ()
    model_fees: tuple[ModelFees, ...] | None = None
    repriced: RepriceRun | None = None


class ErrorRow(Document):
    """How often one kind of error occurred."""

    error_type: str | None = None
    requests: int = 0


class Routes(Document):
    """Speed of the backend's own HTTP routes."""

    requests: int = 0
    errors: int = 0
    latency_ms: Quantiles = Quantiles()
    series: tuple[Point, ...] = ()
    by_route: tuple[SpeedRow, ...] = ()


class Performance(Page):
    """Document of `get_performance`."""

    series: tuple[Point, ...] = ()
    by_model: tuple[SpeedRow, ...] = ()
    by_feature: tuple[SpeedRow, ...] = ()
    errors_by_type: tuple[ErrorRow, ...] = ()
    routes: Routes = Routes()
