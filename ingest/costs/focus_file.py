"""A statement as a FOCUS 1.2 export: https://focus.finops.org/focus-specification/v1-2/.

`BilledCost` adds up to the statement's certain cost. FOCUS knows no unknown cost, so a line without any certain
call has 0 there; `x_CostCertainty` says so. Fallback cost and unpriced calls stand in columns of their own.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ingest.costs.statement import month_bounds
from ingest.documents.cells import exact_text, safe_text
from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ingest.costs.statement import CostStatement, Line

__all__ = ["COLUMNS", "write_focus"]

COLUMNS: Final = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountStatus",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "x_Model",
    "x_CallCount",
    "x_CostCertainty",
    "x_CertainCallCount",
    "x_FallbackCost",
    "x_FallbackCallCount",
    "x_UnpricedCallCount",
    "x_BillReconciliation",
)

# As the makers call themselves and their services; a provider that is not here has its own name for both.
_PROVIDERS: Final[Mapping[str, tuple[str, str]]] = {
    "openai": ("OpenAI", "OpenAI API"),
    "azure": ("Microsoft", "Azure OpenAI Service"),
    "anthropic": ("Anthropic", "Claude API"),
    "google": ("Google", "Gemini API"),
    "aws": ("AWS", "Amazon Bedrock"),
}
_UNIT: Final = "Tokens"


def write_focus(statement: CostStatement) -> bytes:
    """Write the lines as charges of FOCUS 1.2, as CSV in UTF-8; an empty cell is null.

    Raises:
        ConfigurationError: The lines do not tell providers apart.
    """
    if "provider" not in statement.dimensions:
        raise ConfigurationError("a FOCUS export is by provider: add it to the dimensions")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="")  # ChargeClass, InvoiceId and CommitmentDiscountStatus are null
    writer.writeheader()
    writer.writerows(_charge(statement, line) for line in statement.lines)
    return text.getvalue().encode()


def _charge(statement: CostStatement, line: Line) -> dict[str, str]:
    names = dict(zip(statement.dimensions, line.names, strict=True))
    provider = names.pop("provider")
    maker, service = _PROVIDERS.get(provider, (provider, provider))
    environment = names.pop("environment", "")
    month = statement.month_of(line)
    start, end = month_bounds(line.month, statement.timezone)
    sums = line.figures
    cost = _decimal(sums.cost if sums.cost is not None else Decimal(0))
    tokens = f"{sums.prompt_tokens + sums.completion_tokens}.0"
    strings = {
        "BillingAccountId": provider,
        "BillingAccountName": maker,
        "ChargeDescription": f"Tokens of {names.get('model') or 'models'}",
        "InvoiceIssuerName": maker,
        "ProviderName": maker,
        "PublisherName": maker,
        "ServiceName": service,
        "SubAccountId": environment,
        "SubAccountName": environment,
    }
    texts = {
        "Tags": json.dumps({name: value for name, value in names.items() if value}, ensure_ascii=False),
        "x_Model": names.get("model", ""),
        "x_CostCertainty": _certainty(line),
        "x_BillReconciliation": month.state_of(provider),
    }
    return {
        **{name: safe_text(_ascii(text)) for name, text in strings.items()},
        **{name: safe_text(text) for name, text in texts.items()},
        **dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), cost),
        "BillingCurrency": "USD",
        "BillingPeriodStart": _moment(start),
        "BillingPeriodEnd": _moment(end),
        "ChargePeriodStart": _moment(month.from_time),
        "ChargePeriodEnd": _moment(month.to_time),
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        **dict.fromkeys(("ConsumedQuantity", "PricingQuantity"), tokens),
        **dict.fromkeys(("ConsumedUnit", "PricingUnit"), _UNIT),
        "PricingCategory": "Standard",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "x_CallCount": str(sums.requests),
        "x_CertainCallCount": str(sums.certain_requests),
        "x_FallbackCost": _decimal(sums.fallback_cost),
        "x_FallbackCallCount": str(sums.fallback_requests),
        "x_UnpricedCallCount": str(sums.unpriced_requests),
    }


def _decimal(amount: Decimal) -> str:
    """Write a decimal so that readers that guess types from CSV take it for one."""
    text = exact_text(amount)
    return text if "." in text else f"{text}.0"


def _ascii(text: str) -> str:
    r"""Write a string of FOCUS, which has ASCII characters only: others as `\u804a`. Tags hold them as they are."""
    return text.encode("ascii", "backslashreplace").decode()


def _certainty(line: Line) -> str:
    sums = line.figures
    if sums.certain_requests == sums.requests:
        return "certain"
    return "partly certain" if sums.certain_requests else "not certain"


def _moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
