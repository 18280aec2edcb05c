"""Judges whether what was recorded has a price: names that nobody knows, and how old the list prices are."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ingest.database import fetch
from ingest.database.health import Finding, Level, describe_age
from ingest.documents.prices import PriceState
from ingest.errors import TreeringError
from ingest.notices import Notices
from ingest.prices.in_force import Prices
from pricing import UnknownModelError
from pricing.names import families, is_openai_text, is_self_hosted
from pricing.second import SecondCatalogue

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from ingest.database import Database
    from ingest.settings import Settings
    from pricing import PriceBook

PART: Final = "prices of recorded models"
# Makers change a price every few weeks; a release of half a year ago has many that are no longer so.
LONGEST_AGE: Final = timedelta(days=120)
_MOST_SHOWN: Final = 5


def judge_recorded_models(database: Database, settings: Settings) -> Finding:
    """Judge the names of models that calls were recorded with.

    Args:
        database: Opened as service_role.
        settings: Deployments, providers, region and the fallback model, as for recording.
    """
    prices = Prices(Notices(), deployments=settings.deployments, providers=settings.providers, region=settings.region)
    try:
        prices.refresh(database)
        models = fetch(database, PriceState, "get_price_state").models
    except TreeringError as error:
        return Finding(PART, Level.WARNING, f"could not be checked: {error}")
    return judge_names(models, prices.book, settings.fallback_model)


def judge_names(models: Iterable[tuple[str, str]], book: PriceBook, fallback_model: str | None) -> Finding:
    """Judge (provider, model) names: which have no price, what stands in for it, and how to name what they are."""
    unknown = [(provider, model) for provider, model in models if not _is_known(book, provider, model)]
    # A server of one's own has no list price; a row of the customer's is what helps there.
    named = [(provider, model) for provider, model in unknown if not is_self_hosted(provider)]
    if not named:
        return Finding(PART, Level.OK, "every model of a provider has one")
    shown = [f"{provider}/{model}" for provider, model in named[:_MOST_SHOWN]]
    more = f" and {len(named) - _MOST_SHOWN} more" if len(named) > _MOST_SHOWN else ""
    guess = next((_guess(book, provider, model, fallback_model) for provider, model in named), "")
    fix = f"say what they are, as TREERING_DEPLOYMENTS={guess}, or add a price under Settings → Prices"
    return Finding(PART, Level.WARNING, f"none is known for {', '.join(shown)}{more}", fix)


def judge_release(now: datetime) -> Finding:
    """Judge how old the list prices of this release are; the catalogue that the worker fetches is younger."""
    day = SecondCatalogue.default().day
    age = now - day
    message = f"this release has those of {day:%Y-%m-%d}"
    if age <= LONGEST_AGE:
        return Finding("list prices", Level.OK, message)
    return Finding("list prices", Level.WARNING, f"{message}, {describe_age(age)} ago", "update treering")


def _guess(book: PriceBook, provider: str, model: str, fallback_model: str | None) -> str:
    """Write a deployment as the setting takes it, with the model that its name begins with."""
    names = families(model) if is_openai_text(model) else ()
    found = next((name for name in names if _is_known(book, "openai", name)), None)
    return f"{provider}/{model}={found or fallback_model or 'MODEL'}".lower()


def _is_known(book: PriceBook, provider: str, model: str) -> bool:
    try:
        book.explain(model, provider=provider)
    except UnknownModelError:
        return False
    return True
