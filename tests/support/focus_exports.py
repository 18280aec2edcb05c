"""FOCUS exports with the columns that Azure, AWS and Google write, and rows of theirs."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DAY = date(2026, 11, 3)

BEDROCK = {
    "ProviderName": "AWS",
    "ServiceName": "Amazon Bedrock",
    "SkuMeter": "USE1-Claude4.5Sonnet-input-tokens",
    "ConsumedUnit": "1K tokens",
    "SubAccountId": "123456789012",
}
VERTEX = {
    "ProviderName": "Google Cloud",
    "ServiceName": "Vertex AI",
    "SkuMeter": "Gemini 2.5 Flash GA Text Input - Predictions",
    "ConsumedUnit": "count",
    "SubAccountId": "my-project",
}


def focus_row(*, day: date = DAY, cost: str = "2.50", quantity: str = "1000", **columns: str) -> dict[str, str]:
    """A row of Azure's export: a thousand times a thousand input tokens of gpt-4o for 2.50 $."""
    return {
        "BilledCost": cost,
        "EffectiveCost": cost,
        "ListCost": "2.50",
        "BillingCurrency": "USD",
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargePeriodStart": f"{day}T00:00:00Z",
        "ChargePeriodEnd": f"{day + timedelta(days=1)}T00:00:00Z",
        "ConsumedQuantity": quantity,
        "ConsumedUnit": "1K",
        "PricingQuantity": quantity,
        "PricingUnit": "1K",
        "ProviderName": "Microsoft",
        "ServiceName": "Azure OpenAI Service",
        "SkuMeter": "gpt-4o-0806-Inp-glbl Tokens",
        "SubAccountId": "/subscriptions/a",
        "Tags": '{"team": "chat"}',
        **columns,
    }


def as_csv(*rows: dict[str, str]) -> str:
    """The rows as a CSV export writes them."""
    columns = list({name: None for row in rows for name in row})
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_csv(path: Path, *rows: dict[str, str]) -> Path:
    path.write_text(as_csv(*rows), encoding="utf-8")
    return path
