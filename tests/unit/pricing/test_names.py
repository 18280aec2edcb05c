from __future__ import annotations

from decimal import Decimal

import pytest

from pricing import PriceBook, PriceBookError, UnknownModelError
from tests.support.pricing import cost_of


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.default()


def per_mtok(book: PriceBook, model: str, provider: str = "openai") -> tuple[Decimal | None, Decimal | None]:
    band = book.explain(model, provider=provider).band
    assert band is not None
    return band.input, band.output


@pytest.mark.parametrize(
    ("model", "rates"),
    [
        ("gpt-4o", ("2.5", "10")),
        ("GPT-4o ", ("2.5", "10")),
        ("gpt-4o-2024-11-20", ("2.5", "10")),
        ("gpt-4o-2024-05-13", ("5", "15")),
        ("gpt-4o-20240806", ("2.5", "10")),
        ("gpt-4o-mini-2024-07-18", ("0.15", "0.6")),
        ("gpt-5-chat-latest", ("1.25", "10")),
        ("openai/gpt-4o", ("2.5", "10")),
        ("openai/gpt-4o-2024-05-13", ("5", "15")),
        ("anthropic/claude-sonnet-4-5", ("3", "15")),
    ],
)
def test_snapshots_aliases_and_prefixes_lead_to_their_row(book: PriceBook, model: str, rates: tuple[str, str]) -> None:
    assert per_mtok(book, model) == tuple(Decimal(rate) for rate in rates)


def test_a_snapshot_that_is_not_listed_is_priced_as_its_family_and_says_so(book: PriceBook) -> None:
    why = book.explain("gpt-4.1-2027-01-01")
    assert why.model == "gpt-4.1"
    assert "priced as its family 'gpt-4.1'" in why.steps[0]


@pytest.mark.parametrize(
    ("model", "rates"),
    [
        ("ft:gpt-4o-mini:acme::8x", ("0.3", "1.2")),
        ("ft:gpt-4o-mini-2024-07-18:acme:support:8x", ("0.3", "1.2")),
        ("ft:gpt-4o-2024-08-06:acme::8x", ("3.75", "15")),
        ("ft:gpt-4.1-nano-2025-04-14:acme::8x", ("0.2", "0.8")),
        ("openai/ft:gpt-4.1:acme::8x", ("3", "12")),
    ],
)
def test_a_fine_tune_is_priced_as_a_fine_tune(book: PriceBook, model: str, rates: tuple[str, str]) -> None:
    assert per_mtok(book, model) == tuple(Decimal(rate) for rate in rates)


@pytest.mark.parametrize("snapshot", ["2024-08-06", "2024-11-20"])
def test_a_fine_tune_has_its_own_cached_rate(book: PriceBook, snapshot: str) -> None:
    cost = cost_of(book, f"ft:gpt-4o-{snapshot}:acme::8x", 1_000_000, 0, cached_input_tokens=1_000_000)
    assert cost.total == Decimal("1.875")


def test_a_fine_tune_of_an_older_model_is_priced_as_the_catalogue_has_it(book: PriceBook) -> None:
    assert per_mtok(book, "ft:gpt-3.5-turbo-0125:acme::8x") == (Decimal(3), Decimal(6))


def test_a_fine_tune_without_a_price_is_not_priced_as_its_base(book: PriceBook) -> None:
    with pytest.raises(UnknownModelError):
        book.explain("ft:gpt-5:acme::8x")


def test_a_fine_tune_can_have_a_price_of_the_customers(book: PriceBook) -> None:
    row = {"provider": "openai", "models": ["ft:gpt-4o-mini:acme::8x"], "rates": {"input": "1", "output": "2"}}
    assert per_mtok(book.with_rows([row]), "ft:gpt-4o-mini:acme::8x") == (Decimal(1), Decimal(2))


@pytest.mark.parametrize("provider", ["azure", "azure-openai", "az.ai.openai"])
def test_azure_sells_openai_models_at_their_list_price(book: PriceBook, provider: str) -> None:
    assert per_mtok(book, "gpt-4o", provider) == (Decimal("2.5"), Decimal(10))


def test_discounts_of_openai_are_not_assumed_for_azure(book: PriceBook) -> None:
    # Azure's own list has no flex price for gpt-4.1 and half price for batches of gpt-4o.
    assert cost_of(book, "gpt-4.1", 1, 1, provider="azure", service_tier="flex").total is None
    batch = cost_of(book, "gpt-4o", 1_000_000, 0, provider="azure", service_tier="batch")
    assert (batch.total, str(batch.price_id)[:8]) == (Decimal("1.25"), "litellm:")


def test_our_corrections_of_openai_hold_for_azure_too(book: PriceBook) -> None:
    assert cost_of(book, "omni-moderation-latest", 1, 0, provider="azure").total == 0


@pytest.mark.parametrize("name", ["chat-prod", "azure/chat-prod"])
def test_a_deployment_is_priced_as_the_model_it_is_mapped_to(book: PriceBook, name: str) -> None:
    mapped = book.with_deployments({name: "gpt-4o-mini"})
    why = mapped.explain("Chat-Prod", provider="azure")
    assert why.model == "gpt-4o-mini"
    assert why.steps[0] == "deployment 'chat-prod' is mapped to 'gpt-4o-mini'"


def test_a_deployment_that_is_not_mapped_is_unknown(book: PriceBook) -> None:
    with pytest.raises(UnknownModelError):
        book.explain("chat-prod", provider="azure")


def test_a_deployment_without_a_model_is_refused(book: PriceBook) -> None:
    with pytest.raises(PriceBookError, match="deployment"):
        book.with_deployments({"chat-prod": " "})


def test_a_router_is_believed_about_its_own_names(book: PriceBook) -> None:
    assert book.explain("openai/gpt-4o", provider="openrouter").provider == "openrouter"


def test_a_gateway_that_the_book_does_not_know_sells_under_the_makers_names(book: PriceBook) -> None:
    assert book.explain("openai/gpt-4o", provider="litellm").provider == "openai"


def test_a_provider_is_not_replaced_by_a_prefix_of_another(book: PriceBook) -> None:
    with pytest.raises(UnknownModelError):
        book.explain("openai/gpt-4o", provider="deepseek")


@pytest.mark.parametrize("model", ["", "/", "openai/", "ft:", "-2024-01-01"])
def test_a_name_that_names_nothing_is_unknown(book: PriceBook, model: str) -> None:
    with pytest.raises(UnknownModelError):
        book.explain(model)
