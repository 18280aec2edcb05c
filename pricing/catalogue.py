"""The base layer: genai-prices' models as rows of our book."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, time
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from genai_prices.data_snapshot import find_provider_by_id, get_snapshot
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEquals,
    ClauseOr,
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from pricing.errors import PriceBookError
from pricing.rates import EXACT, Rates, UnitPrice, measures
from pricing.rows import DEFAULT_TIER, PriceRow, make_rates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal

    from genai_prices.types import MatchLogic

_RATE_OF_KEY: Final = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_input",
    "cache_audio_read_mtok": "cached_audio",
    "input_image_mtok": "image_input",
    "cache_image_read_mtok": "cached_image",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_output",
    "output_image_mtok": "image_output",
}
# By kind of unit: the keys that price it, the first one found counts, and for how many units they do.
_UNIT_KEYS: Final[Mapping[str, tuple[tuple[str, ...], int]]] = {
    "web_search": (("web_searches_kcount",), 1_000),
    "file_search": (("storage_searches_kcount",), 1_000),
    "audio_seconds": (("input_audio_hours", "audio_hours"), 3_600),
    "characters": (("input_mchars",), 1_000_000),
    "pages": (("input_document_kpages",), 1_000),
    "annotated_pages": (("input_annotated_document_kpages",), 1_000),
    "messages": (("input_text_messages_kcount",), 1_000),
}
# What makes another model of a name that begins alike.
_OTHER_MODEL: Final = re.compile(
    r"(?:^|[-_.:])(?:lite|mini|nano|micro|small|medium|large|pro|max|plus|ultra|turbo|fast|flash|image|vision|tts|live"
    r"|(?<!native-)audio|realtime|transcribe|search|research|embed\w*|codex|code|computer|robotics|cyber|omni|highspeed|free|\d+b)(?=$|[-_.:@\d])"
)
# Here customers deploy models under names of their own; what is the same model's goes on like this.
_DEPLOYING: Final = frozenset({"openai", "azure"})
_SAME_MODEL: Final = re.compile(r"(?:[-@.]?(?:latest|preview|turbo|\d[\d-]*))*")
_REQUESTS_PER_KCOUNT_EXPONENT = -3

# Peak hours that are of Monday to Friday alone, which genai-prices cannot say; China's public holidays are off-peak too
# and are not known here: https://api-docs.deepseek.com/quick_start/pricing
_WEEKDAY_PEAKS: Final = {"deepseek": ("deepseek-v4", "deepseek-flash")}

# OpenAI bills audio apart from text on every model that takes it: a missing audio rate is a gap of the catalogue there.
_AUDIO_PRICED_APART: Final = frozenset({"openai", "azure"})

# Names that OpenTelemetry's GenAI conventions and gateways use, where genai-prices knows another.
_PROVIDER_ALIASES: Final = {
    "azure-openai": "azure",
    "azure_openai": "azure",
    "azure.ai.openai": "azure",
    "az.ai.openai": "azure",
    "aws.bedrock": "aws",
    "bedrock": "aws",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "gcp.gen_ai": "google",
    "gemini": "google",
    "vertex_ai": "google",
    "mistral_ai": "mistral",
    "xai": "x-ai",
    "x_ai": "x-ai",
}


class Catalogue:
    """The models of genai-prices' active snapshot (the bundled one, or the one its updater fetched last)."""

    def __init__(self, providers: Sequence[Provider] | None = None) -> None:
        self._providers = list(get_snapshot().providers if providers is None else providers)

    @classmethod
    def from_json(cls, content: str) -> Catalogue:
        """Read a catalogue as genai-prices publishes it.

        Raises:
            PriceBookError: It is not one, or of a form that this release of genai-prices does not know.
        """
        # What `genai_prices.UpdatePrices.fetch` does with the answer; there is no public name for it.
        from genai_prices.types import _providers_from_raw

        try:
            return cls(_providers_from_raw(json.loads(content)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PriceBookError(f"the catalogue cannot be read: {type(error).__name__}") from error

    def provider_id(self, provider: str) -> str | None:
        """Return the catalogue's id for a provider's name, None when it has no such provider."""
        found = self._provider(provider)
        return None if found is None else found.id

    def find(self, provider: str, model: str) -> tuple[str, str] | None:
        """Return (id of the provider whose prices apply, id of the model), or None.

        The first differs from the one asked for where a provider sells another's models at its prices, as Azure does.
        """
        found = self._find(provider, model)
        return None if found is None else (found[0].id, found[1].id)

    def models(self, provider: str) -> list[str]:
        """Return the ids of a provider's models."""
        found = self._provider(provider)
        return [] if found is None else [model.id for model in found.models]

    def rows(self, provider: str, model: str, service_tier: str) -> list[PriceRow]:
        """Return the rows of one model, known by its id, on one tier; the last one that is active wins."""
        found = self._provider(provider)
        assert found is not None, provider
        info = next(info for info in found.models if info.id == model)
        rows = _default_rows(info) if service_tier == DEFAULT_TIER else _tier_rows(info, service_tier)
        apart = found.id in _AUDIO_PRICED_APART
        source_url = found.pricing_urls[0] if found.pricing_urls else None
        peaks = info.id.startswith(_WEEKDAY_PEAKS.get(found.id, "\0"))
        return [
            PriceRow(
                "genai",
                found.id,
                (info.id.lower(),),
                bands,
                service_tier,
                *span,
                daily=daily,
                weekdays_only=peaks and daily is not None,
                audio_priced_apart=apart,
                source_url=source_url,
            )
            for bands, span, daily in rows
        ]

    def _provider(self, provider: str) -> Provider | None:
        return find_provider_by_id(self._providers, _PROVIDER_ALIASES.get(provider, provider))

    def _find(self, provider: str, model: str) -> tuple[Provider, ModelInfo] | None:
        asked = self._provider(provider)
        if asked is None:
            return None
        fallbacks = (self._provider(name) for name in asked.fallback_model_providers or ())
        for owner in (asked, *(fallback for fallback in fallbacks if fallback is not None)):
            info = owner.find_model(model)
            if info is not None and not _is_another(owner.id, info.match, model):
                return owner, info
        return None


def _is_another(provider: str, match: MatchLogic | None, model: str) -> bool:
    """Whether a name was matched by its beginning alone and goes on as the names of other models do.

    `gemini-3.8-flash-lite` begins like `gemini-3.8-flash`, at a price that is another's: such a name is unknown until
    the catalogue lists it. Where customers name deployments after models, a name goes on as they like.
    """
    begun = [text for text in _beginnings(match, model) if model in text or text in model]
    if not begun or model in begun:
        return False
    longest = max(begun, key=len)
    rest = model[model.index(longest) + len(longest) :]
    if provider in _DEPLOYING:
        return _SAME_MODEL.fullmatch(rest) is None
    return _OTHER_MODEL.search(rest) is not None


def _beginnings(match: MatchLogic | None, model: str) -> Iterator[str]:
    """Yield what a rule found in a name: the whole name where the rule names it, else the text that it looks for."""
    match match:
        case ClauseOr(or_=clauses) | ClauseAnd(and_=clauses):
            for clause in clauses:
                if clause.is_match(model):
                    yield from _beginnings(clause, model)
        case ClauseEquals() if match.is_match(model):
            yield model
        case ClauseStartsWith(starts_with=text) | ClauseContains(contains=text):
            yield text.lower()


_Span = tuple[datetime | None, datetime | None]
_Found = tuple[tuple[Rates, ...], _Span, tuple[time, time] | None]


def _default_rows(info: ModelInfo) -> Iterator[_Found]:
    prices = info.prices if isinstance(info.prices, list) else [ConditionalPrice(prices=info.prices)]
    latest: datetime | None = None
    for position, conditional in enumerate(prices):
        start: datetime | None = None
        daily: tuple[time, time] | None = None
        match conditional.constraint:
            case StartDateConstraint(start_date=day) if position:  # the first also applies before its date
                start = latest = _midnight(day.isoformat())
            case TimeOfDateConstraint(start_time=begin, end_time=end):
                # Hours that are listed after a day are hours of the price that began on it.
                start, daily = latest, (_utc(begin), _utc(end))
        bands = _bands(conditional.prices)
        if bands:
            yield bands, (start, None), daily


def _tier_rows(info: ModelInfo, service_tier: str) -> Iterator[_Found]:
    # Fast mode is a service tier at OpenAI, a speed at Anthropic.
    contexts = (
        [{"processing": "batch"}]
        if service_tier == "batch"
        else [{"service_tier": service_tier}, {"speed": service_tier}]
    )
    variants = [variant for variant in info.price_variants or () if variant.when in contexts]
    if not variants:
        return
    conditionals = info.prices if isinstance(info.prices, list) else []
    constraints = [item.constraint for item in conditionals] + [item.constraint for item in variants]
    starts = sorted({_midnight(c.start_date.isoformat()) for c in constraints if isinstance(c, StartDateConstraint)})
    edges: list[datetime | None] = [None, *starts, None]
    for start, end in pairwise(edges):
        instant = start or datetime.min.replace(tzinfo=UTC)
        if any(variant.constraint is None or variant.constraint.active(instant) for variant in variants):
            bands = _bands(info.get_prices(instant, variants[0].when))
            if bands:
                yield bands, (start, end), None


def _bands(prices: ModelPrice) -> tuple[Rates, ...]:
    """Turn prices per key, each with tiers of its own, into bands by input size; () when nothing is priced."""
    by_key: Mapping[str, Decimal | TieredPrices | None] = prices.__dict__
    priced = {rate: by_key[key] for key, rate in _RATE_OF_KEY.items() if by_key.get(key) is not None}
    units = _units(by_key)
    if not priced and not any(map(measures, units)):
        return ()
    starts = {tier.start for value in priced.values() if isinstance(value, TieredPrices) for tier in value.tiers}
    fee = _at(by_key.get("requests_kcount"), 0)
    if fee is not None:
        priced["request_fee"] = EXACT.scaleb(fee, _REQUESTS_PER_KCOUNT_EXPONENT)
    return tuple(make_rates(start, _figures(priced, start), units) for start in sorted(starts | {0}))


def _figures(priced: Mapping[str, Decimal | TieredPrices | None], start: int) -> dict[str, Decimal]:
    figures = {rate: _at(value, start) for rate, value in priced.items()}
    return {rate: figure for rate, figure in figures.items() if figure is not None}


def _units(by_key: Mapping[str, Decimal | TieredPrices | None]) -> dict[str, UnitPrice]:
    units = {}
    for kind, (keys, per) in _UNIT_KEYS.items():
        price = next((found for key in keys if (found := _at(by_key.get(key), 0)) is not None), None)
        if price is not None:
            units[kind] = UnitPrice(price, per)
    return units


def _at(value: Decimal | TieredPrices | None, start: int) -> Decimal | None:
    """Return the price of a band that begins above `start` input tokens."""
    if not isinstance(value, TieredPrices):
        return value
    price = value.base
    for tier in value.tiers:
        if tier.start <= start:
            price = tier.price
    return price


def _midnight(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def _utc(value: time) -> time:
    aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return datetime.combine(datetime(1970, 1, 1, tzinfo=UTC), aware).astimezone(UTC).time()
