"""Reads FOCUS exports of Azure, AWS and Google as lines of a bill: what their services for models charged.

FOCUS: https://focus.finops.org/focus-specification/v1-2/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

from ingest.billing.focus_files import METERS, read_rows
from ingest.billing.line_items import LineItem
from ingest.billing.provider_lines import cost_line, quiet_day
from ingest.billing.skus import read_sku
from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ingest.billing.focus_files import Row
    from ingest.billing.line_items import Charge
    from ingest.billing.provider_lines import Line
    from ingest.billing.skus import Cloud, Sku

FocusCost = Literal["billed", "effective"]

_PROVIDERS: Final[Mapping[str, Cloud]] = {
    "microsoft": "azure",
    "azure": "azure",
    "aws": "aws",
    "amazon": "aws",
    "google": "google",
}
_SERVICES: Final[Mapping[Cloud, re.Pattern[str]]] = {
    "azure": re.compile(r"openai|foundry models"),
    "aws": re.compile(r"bedrock"),
    "google": re.compile(r"vertex ai|gemini|generative language"),
}
# They sell more than models: here the name of the meter decides.
_MIXED_SERVICES: Final = re.compile(r"cognitive services|foundry|azure ai services")
_CHARGES: Final[Mapping[str, Charge]] = {
    "usage": "usage",
    "credit": "credit",
    "adjustment": "adjustment",
    "tax": "tax",
    "purchase": "purchase",
}
_UNIT: Final = re.compile(r"(?P<count>\d+)?\s*(?P<scale>k|m|thousand|million)?\s*(?P<what>tokens?|counts?|units?)?")
_SCALES: Final = {"k": 1000, "thousand": 1000, "m": 1_000_000, "million": 1_000_000}
_COLUMNS: Final[Mapping[FocusCost, tuple[str, str]]] = {
    "billed": ("BilledCost", "x_BilledCostInUsd"),
    "effective": ("EffectiveCost", "x_EffectiveCostInUsd"),
}
_LIST_COST: Final = ("ListCost", "x_ListCostInUsd")
# Where dividing by an exchange rate has no end.
_DIGITS: Final = Decimal("1e-12")
_LONGEST_TEXT: Final = 500


@dataclass(frozen=True, slots=True)
class FocusBill:
    """What exports say.

    Attributes:
        lines: Lines for `store_lines`, with one of zero for each day without any.
        providers: As calls name them, sorted.
        first_day: First UTC day.
        end_day: First UTC day that is not in the exports.
    """

    lines: list[Line]
    providers: tuple[str, ...]
    first_day: date
    end_day: date


@dataclass(slots=True)
class _Sum:
    amount: Decimal = Decimal(0)
    tokens: Decimal | None = Decimal(0)
    list_cost: Decimal | None = Decimal(0)


@dataclass(frozen=True, slots=True)
class _Key:
    provider: Cloud
    day: date
    text: str
    read: LineItem
    tier: str
    project: str


@dataclass(slots=True)
class _Reading:
    sums: dict[_Key, _Sum] = field(default_factory=dict)
    days: dict[Cloud, set[date]] = field(default_factory=dict)


def read_focus(paths: Sequence[Path], *, today: date, cost: FocusCost = "billed") -> FocusBill:
    """Read exports as a bill; nothing of them is used where one row that matters cannot be read.

    Args:
        paths: Files of one or more exports; each part of a large export is one.
        today: Current UTC day; later days are refused.
        cost: `billed` for what is invoiced, `effective` to spread commitments over what they pay for.

    Raises:
        ConfigurationError: A file is no FOCUS export, a row is wrong or in another currency without a rate, or no row
            is of a known cloud.
    """
    reading = _Reading()
    for row in read_rows(paths):
        cloud = _cloud(row)
        if cloud is None:
            continue
        day = row.moment("ChargePeriodStart").date()
        if day > today:
            raise ConfigurationError(f"{row.place}: ChargePeriodStart {day} is after today")
        reading.days.setdefault(cloud, set()).add(day)
        sku = _read_sku(cloud, row)
        if sku is not None:
            _add(reading, cloud, day, row, sku, cost)
    if not reading.days:
        names = ", ".join(str(path) for path in paths)
        raise ConfigurationError(f"{names}: no row has a ProviderName of Microsoft, AWS or Google")
    days = set().union(*reading.days.values())
    return FocusBill([*_lines(reading)], tuple(sorted(reading.days)), min(days), max(days) + timedelta(days=1))


def tokens_per_unit(unit: str) -> int | None:
    """Return how many tokens a unit of a SKU for tokens is ("1K tokens", "1M", "Units"), None where it is no count."""
    found = _UNIT.fullmatch(unit.strip().lower().replace(",", ""))
    if found is None or not unit.strip():
        return None
    return int(found["count"] or 1) * _SCALES.get(found["scale"] or "", 1)


def _cloud(row: Row) -> Cloud | None:
    name = row.text("ProviderName").lower()
    return next((cloud for word, cloud in _PROVIDERS.items() if word in name), None)


def _read_sku(cloud: Cloud, row: Row) -> Sku | None:
    service = row.text("ServiceName").lower()
    is_mixed = cloud == "azure" and _MIXED_SERVICES.search(service) is not None
    if not is_mixed and not _SERVICES[cloud].search(service):
        return None
    family = f"{row.text('x_SkuMeterSubcategory')} {service}"
    sku = read_sku(cloud, _meter(row), family)
    is_model = sku.read.charge == "usage" or _SERVICES[cloud].search(family.lower()) is not None
    return sku if is_model else None


def _meter(row: Row) -> str:
    return next(filter(None, map(row.text, METERS)), "")


def _add(reading: _Reading, cloud: Cloud, day: date, row: Row, sku: Sku, cost: FocusCost) -> None:
    amount = _dollars(row, *_COLUMNS[cost])
    if amount is None:
        raise ConfigurationError(f"{row.place}: {_COLUMNS[cost][0]} is empty")
    read = LineItem(sku.read.model, sku.read.item, _charge(row, sku, amount))
    text = _meter(row) or row.text("ServiceName")
    key = _Key(cloud, day, text[:_LONGEST_TEXT], read, sku.service_tier, row.text("SubAccountId"))
    total = reading.sums.setdefault(key, _Sum())
    total.amount += amount
    if read.charge != "usage":
        return
    tokens, list_cost = _tokens(row), _dollars(row, *_LIST_COST)
    total.tokens = None if tokens is None or total.tokens is None else total.tokens + tokens
    total.list_cost = None if list_cost is None or total.list_cost is None else total.list_cost + list_cost


def _charge(row: Row, sku: Sku, amount: Decimal) -> Charge:
    category = row.text("ChargeCategory").lower()
    charge = _CHARGES.get(category)
    if charge is None:
        raise ConfigurationError(f"{row.place}: ChargeCategory is {row.text('ChargeCategory')!r}: not one of FOCUS's")
    correction = row.text("ChargeClass").lower()
    if correction not in ("", "correction"):
        raise ConfigurationError(f"{row.place}: ChargeClass is {row.text('ChargeClass')!r}: not one of FOCUS's")
    if correction or (charge == "usage" and amount < 0):
        return "adjustment"
    return sku.read.charge if charge == "usage" else charge


def _dollars(row: Row, column: str, dollar_column: str) -> Decimal | None:
    amount = row.amount(column)
    currency = row.text("BillingCurrency").upper()
    if amount is None or currency == "USD":
        return amount
    dollars = row.amount(dollar_column)
    if dollars is not None:
        return dollars
    rate = row.amount("x_CurrencyConversionRate")  # Google's: units of the billing currency for one dollar
    if rate is not None and rate > 0:
        return (amount / rate).quantize(_DIGITS)
    raise ConfigurationError(
        f"{row.place}: BillingCurrency is {currency or 'empty'}, and neither {dollar_column} nor "
        "x_CurrencyConversionRate says how many US dollars that is"
    )


def _tokens(row: Row) -> Decimal | None:
    consumed, unit = row.amount("ConsumedQuantity"), row.text("ConsumedUnit")
    size = tokens_per_unit(unit)
    if consumed is not None and size is not None and size > 1:
        return consumed * size
    # "Units" may be of anything: the price's own unit tells.
    priced, priced_size = row.amount("PricingQuantity"), tokens_per_unit(row.text("PricingUnit"))
    if priced is not None and priced_size is not None and priced_size > 1 and "token" not in unit.lower():
        return priced * priced_size
    return None if consumed is None or size is None else consumed


def _lines(reading: _Reading) -> Iterator[Line]:
    billed: set[tuple[Cloud, date]] = set()
    for key, total in reading.sums.items():
        billed.add((key.provider, key.day))
        tokens = total.tokens if key.read.charge == "usage" else None
        list_price = None
        if tokens and total.list_cost:
            list_price = (total.list_cost * 1_000_000 / tokens).quantize(_DIGITS)
        yield cost_line(
            key.day,
            total.amount,
            source="import",
            provider=key.provider,
            line_item=key.text,
            read=key.read,
            project_id=key.project[:200],
            service_tier=key.tier,
            quantity=tokens,
            quantity_unit="tokens" if tokens is not None else None,
            list_price=list_price if list_price is not None and list_price > 0 else None,
        )
    for cloud, days in reading.days.items():
        for number in range((max(days) - min(days)).days + 1):
            day = min(days) + timedelta(days=number)
            if (cloud, day) not in billed:
                yield quiet_day(day, "cost", source="import", provider=cloud)
