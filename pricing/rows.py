"""Rows of the price book: what one model costs on one service tier for one span of time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, Literal

from pricing.errors import PriceBookError
from pricing.rates import FIGURES, TOKEN_FIGURES, Rates, UnitPrice, measures
from pricing.usage import UNITS, is_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Layer = Literal["genai", "litellm", "treering", "customer"]
LAYERS: Final[tuple[Layer, ...]] = ("customer", "treering", "litellm", "genai")
"""Every layer, the one that wins first."""

DEFAULT_TIER: Final = "default"

_RATE_KEYS = frozenset(FIGURES)
_ROW_KEYS = frozenset(
    {
        *("provider", "models", "service_tier", "valid_from", "valid_to", "rates", "long_context"),
        *("units", "is_measured", "audio_priced_apart", "price_id", "source_url", "checked", "note"),
    }
)
_DIGEST_DIGITS = 6


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One price, valid in [valid_from, valid_to). A row is appended, never changed.

    Attributes:
        layer: Where it comes from; customer rows win over ours, ours over genai-prices.
        provider: Provider id, lower case.
        models: Names it prices, lower case; the first one is the row's own name.
        bands: Figures by input size, ascending by `above_tokens`, the first at 0.
        service_tier: Tier as served ("default", "batch", "flex", "priority"); None prices every tier.
        valid_from: First instant (aware), None for always.
        valid_to: First instant after (aware), None for open.
        daily: Hours of the day (UTC, start inclusive, end exclusive) it applies to; None for the whole day.
        weekdays_only: Whether those hours are of Monday to Friday alone.
        audio_priced_apart: A missing audio rate means "unknown", not "as text".
        given_id: Identifier given by the customer's own table.
        source_url: Where the figures stand.
        checked: Day on which somebody read them there.
        note: Why this row exists.
    """

    layer: Layer
    provider: str
    models: tuple[str, ...]
    bands: tuple[Rates, ...]
    service_tier: str | None = DEFAULT_TIER
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    daily: tuple[time, time] | None = None
    weekdays_only: bool = False
    audio_priced_apart: bool = False
    given_id: str | None = None
    source_url: str | None = None
    checked: date | None = None
    note: str | None = None

    @property
    def price_id(self) -> str:
        """Short text that names this row and its figures, the same in every process and release.

        `layer:provider/model`, then `+tier`, `@first day`, `T hours` where they apply, then `#` and the first digits of
        a SHA-256 over the figures, so that a row corrected in place does not pass for the one charged before.
        """
        if self.given_id is not None:
            return f"{self.layer}:{self.given_id}"
        text = f"{self.layer}:{self.provider}/{self.models[0]}"
        if self.service_tier != DEFAULT_TIER:
            text += f"+{self.service_tier or 'any'}"
        if self.valid_from is not None:
            text += f"@{_short(self.valid_from)}"
        if self.daily is not None:
            text += f"T{self.daily[0]:%H:%M}-{self.daily[1]:%H:%M}{'w' if self.weekdays_only else ''}"
        return f"{text}#{self._digest()}"

    def names(self, provider: str, model: str) -> bool:
        """Whether it prices exactly this name of a provider."""
        return self.provider == provider and model in self.models

    def applies_on(self, instant: datetime) -> bool:
        """Whether the instant lies in [valid_from, valid_to)."""
        begun = self.valid_from is None or self.valid_from <= instant
        return begun and (self.valid_to is None or instant < self.valid_to)

    def _digest(self) -> str:
        figures = [
            f"{band.above_tokens}:{name}={value.normalize():f}"
            for band in self.bands
            for name, value in sorted(band.priced().items())
        ]
        # Fees of tools are no part of it: most rows have them from a rule for many models, which changes by itself.
        figures += [f"{kind}={price}" for kind, price in sorted(self.bands[0].units.items()) if measures(kind)]
        return hashlib.sha256(";".join(figures).encode()).hexdigest()[:_DIGEST_DIGITS]


def parse_price_row(entry: Mapping[str, object], *, layer: Layer = "customer") -> PriceRow:
    """Read a row from a mapping as it stands in `overlay.toml`, or in a customer's own table.

    Args:
        entry: `provider`, `models` (list of names), `rates` (US dollars per million tokens, as text: input,
            cached_input, cache_write, cache_write_1h, audio_input, cached_audio, image_input, cached_image, output,
            reasoning, audio_output, image_output; request_fee and per_hour in US dollars; without any rate for tokens,
            tokens cost nothing), `units` (see `parse_units`; it may stand without `rates`), and optionally
            `service_tier`, `valid_from`, `valid_to` (dates are midnight UTC), `long_context` (list of rates, each with
            `above`), `is_measured`, `audio_priced_apart`, `price_id`, `source_url`, `checked`, `note`.
        layer: Layer that the row belongs to.

    Raises:
        PriceBookError: A key is missing, unknown or wrong; the message names the row.
    """
    name = f"price row {entry.get('provider')}/{entry.get('models')}"
    unknown = set(entry) - _ROW_KEYS
    if unknown:
        raise PriceBookError(f"{name}: unknown keys {sorted(unknown)}")
    provider = entry.get("provider")
    models = entry.get("models")
    if not isinstance(provider, str) or not provider:
        raise PriceBookError(f"{name}: provider must be a name")
    if not isinstance(models, list | tuple) or not models or not all(isinstance(m, str) and m for m in models):
        raise PriceBookError(f"{name}: models must be a list of names")
    row = PriceRow(
        layer=layer,
        provider=provider.strip().lower(),
        models=tuple(model.strip().lower() for model in models),
        bands=_parse_bands(entry, name),
        service_tier=_optional_text(entry, "service_tier", name, default=DEFAULT_TIER),
        valid_from=parse_instant(entry, "valid_from", name),
        valid_to=parse_instant(entry, "valid_to", name),
        audio_priced_apart=entry.get("audio_priced_apart") is True,
        given_id=_optional_text(entry, "price_id", name),
        source_url=_optional_text(entry, "source_url", name),
        checked=parse_day(entry, "checked", name),
        note=_optional_text(entry, "note", name),
    )
    if row.valid_from is not None and row.valid_to is not None and row.valid_from >= row.valid_to:
        raise PriceBookError(f"{name}: valid_from must be before valid_to")
    return row


def parse_units(value: object, name: str) -> dict[str, UnitPrice]:
    """Read prices of units: `{ web_search = "10/1000", audio_seconds = "0.36/3600", "images:hd" = "0.08" }`.

    Args:
        value: US dollars as text by kind of unit, for one or, after a slash, for so many of them. The kind is one of
            `UNITS`, with qualifiers after colons where they change the price.
        name: What the prices belong to, for the message.

    Raises:
        PriceBookError: A kind is unknown or a price is wrong.
    """
    if not isinstance(value, dict):
        raise PriceBookError(f"{name}: units must be a table")
    prices = {}
    for kind, price in value.items():
        if not is_unit(kind) or kind.partition(":")[0] not in UNITS:
            raise PriceBookError(f"{name}: unknown unit {kind!r}; known are {sorted(UNITS)}")
        amount, slash, per = price.partition("/") if isinstance(price, str) else (price, "", "")
        if slash and not (per.strip().isdecimal() and int(per) > 0):
            raise PriceBookError(f"{name}: {kind} must be a price like 0.01 or 10/1000")
        prices[kind] = UnitPrice(parse_amount(amount, f"{name}: {kind}"), int(per) if slash else 1)
    return prices


def _parse_bands(entry: Mapping[str, object], name: str) -> tuple[Rates, ...]:
    units = parse_units(entry["units"], name) if "units" in entry else {}
    base = parse_rates(entry.get("rates"), name, may_be_empty=bool(units))
    long_context = entry.get("long_context", ())
    if not isinstance(long_context, list | tuple):
        raise PriceBookError(f"{name}: long_context must be a list")
    is_measured = entry.get("is_measured") is True
    bands = [make_rates(0, base, units, is_measured=is_measured)]
    for band in long_context:
        above = band.get("above") if isinstance(band, dict) else None
        if type(above) is not int or above <= bands[-1].above_tokens:
            raise PriceBookError(f"{name}: each long_context band needs a rising `above`")
        rates = parse_rates({key: value for key, value in band.items() if key != "above"}, name)
        bands.append(make_rates(above, {**base, **rates}, units, is_measured=is_measured))
    return tuple(bands)


def make_rates(
    above_tokens: int, figures: Mapping[str, Decimal], units: Mapping[str, UnitPrice], *, is_measured: bool = False
) -> Rates:
    """Make a band of the figures that are there; without any for tokens, tokens cost nothing."""
    if TOKEN_FIGURES.isdisjoint(figures):
        figures = {**figures, "input": Decimal(0), "output": Decimal(0)}
    return Rates(above_tokens=above_tokens, units=units, is_measured=is_measured).with_figures(figures)


def parse_rates(value: object, name: str, *, may_be_empty: bool = False) -> dict[str, Decimal]:
    """Read figures by name.

    Raises:
        PriceBookError: There are none, one has an unknown name or is wrong.
    """
    if not value and may_be_empty:
        return {}
    if not isinstance(value, dict) or not value:
        raise PriceBookError(f"{name}: rates are missing")
    unknown = set(value) - _RATE_KEYS
    if unknown:
        raise PriceBookError(f"{name}: unknown rates {sorted(unknown)}")
    return {key: parse_amount(amount, f"{name}: {key}") for key, amount in value.items()}


def parse_amount(value: object, name: str) -> Decimal:
    """Read a figure of 0 or more.

    Raises:
        PriceBookError: It is none.
    """
    # A binary float has already lost the figure: 0.1 is 0.1000000000000000055.
    if not isinstance(value, str | int | Decimal) or isinstance(value, bool):
        raise PriceBookError(f"{name} must be a decimal as text")
    try:
        amount = Decimal(value)
    except InvalidOperation as error:
        raise PriceBookError(f"{name} is not a number: {value!r}") from error
    if not amount.is_finite() or amount < 0:
        raise PriceBookError(f"{name} must be zero or more: {value!r}")
    return amount


def parse_instant(entry: Mapping[str, object], key: str, name: str) -> datetime | None:
    """Read an instant: a time with a zone, or a day, which is its midnight UTC."""
    value = entry.get(key)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise PriceBookError(f"{name}: {key} is not an ISO time: {value!r}") from error
        if value.tzinfo is None and value.time() == time():
            value = value.replace(tzinfo=UTC)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise PriceBookError(f"{name}: {key} needs a time zone")
        return value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if value is not None:
        raise PriceBookError(f"{name}: {key} must be a date or a time")
    return None


def parse_day(entry: Mapping[str, object], key: str, name: str) -> date | None:
    """Read a day."""
    instant = parse_instant(entry, key, name)
    return None if instant is None else instant.date()


def _optional_text(entry: Mapping[str, object], key: str, name: str, default: str | None = None) -> str | None:
    if key not in entry:
        return default
    value = entry[key]
    if value is not None and not isinstance(value, str):
        raise PriceBookError(f"{name}: {key} must be text")
    return value


def _short(instant: datetime) -> str:
    midnight = instant.time() == time()
    return f"{instant:%Y-%m-%d}" if midnight else f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def refuse_ambiguous_rows(rows: Sequence[PriceRow]) -> None:
    """Raise PriceBookError when two rows of one layer begin at the same instant for the same model and tier."""
    seen: dict[tuple[object, ...], PriceRow] = {}
    for row in rows:
        for model in row.models:
            key = (row.layer, row.provider, model, row.service_tier, row.valid_from)
            if key in seen:
                raise PriceBookError(
                    f"two prices of {row.provider}/{model} begin together: {row.price_id} and {seen[key].price_id}"
                )
            seen[key] = row
