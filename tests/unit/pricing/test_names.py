from __future__ import annotations

from decimal import Decimal

import pytest

from pricing import PriceBook, PriceBookError, UnknownModelError
from pricing.names import families, maker_of
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


@pytest.mark.parametrize(
    ("provider", "model", "priced_by"),
    [
        ("gw.example.com", "claude-sonnet-4-5", "anthropic"),
        ("gw.example.com", "gpt-4o", "openai"),
        ("openai", "claude-sonnet-4-5", "anthropic"),
        ("gw.example.com", "xai/grok-3-mini", "x-ai"),
        ("gw.example.com", "gemini/gemini-2.5-flash", "google"),
        ("vertex_ai", "google/gemini-2.5-flash", "google"),
        ("google", "models/gemini-2.5-flash", "google"),
        ("google", "publishers/google/models/gemini-2.5-flash", "google"),
        ("google", "projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash", "google"),
        ("gw.example.com", "vertex_ai/claude-sonnet-4-5@20250929", "google"),
        ("gw.example.com", "azure/eu/gpt-4o", "azure"),
        ("azure", "eu/gpt-4o", "azure"),
        ("gw.example.com", "fireworks_ai/accounts/fireworks/models/llama-v3p1-8b-instruct", "fireworks"),
        ("openai", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
        ("gw.example.com", "bedrock/us-east-1/anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
        ("aws", "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
        ("gw.example.com", "ft:gpt-4o-mini:acme::8x", "openai"),
        ("gw.example.com", "openrouter/anthropic/claude-sonnet-4.5", "openrouter"),
    ],
)
def test_names_of_gateways_and_clouds_lead_to_their_seller(
    book: PriceBook, provider: str, model: str, priced_by: str
) -> None:
    assert book.explain(model, provider=provider).provider == priced_by


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("localhost:11434", "llama3.1:8b"),
        ("localhost:8000", "meta-llama/Llama-3.1-8B-Instruct"),
        ("10.0.0.5:8000", "mistralai/Mistral-7B-Instruct-v0.3"),
        ("ollama", "deepseek-r1:8b"),
        ("vllm", "gpt-4o"),
        ("gw.example.com", "meta-llama/Llama-3.1-8B-Instruct"),
        ("gw.example.com", "gpt-oss-120b"),
        ("azure", "claude-next"),
    ],
)
def test_a_name_that_nobody_sells_is_unknown(book: PriceBook, provider: str, model: str) -> None:
    with pytest.raises(UnknownModelError):
        book.explain(model, provider=provider)


@pytest.mark.parametrize(
    "model",
    [
        *(
            "mistral-nemo",
            "mistral-small",
            "mistral",
            "mixtral",
            "ministral",
            "codestral",
            "devstral-small",
            "magistral",
        ),
        *("deepseek-r1", "deepseek-v3", "deepseek-coder", "command-r", "command-r-plus", "kimi-k2", "glm-4-9b-chat"),
        *("gemma3", "grok-1", "mistral-small-24b-instruct-2501", "deepseek-r1-distill-llama-70b"),
    ],
)
def test_open_weights_on_an_unknown_host_have_no_makers_price(book: PriceBook, model: str) -> None:
    with pytest.raises(UnknownModelError):
        book.explain(model, provider="llm.example.com")


@pytest.mark.parametrize(
    ("model", "priced_by"),
    [
        ("mistral-small-latest", "mistral"),
        ("mistral-large-2512", "mistral"),
        ("mistral-medium-latest", "mistral"),
        ("open-mistral-nemo", "mistral"),
        ("mistral/mistral-nemo", "mistral"),
        ("deepseek-chat", "deepseek"),
        ("deepseek-v4-flash", "deepseek"),
        ("command-r-08-2024", "cohere"),
        ("kimi-k2.5", "moonshotai"),
    ],
)
def test_a_name_of_a_makers_own_api_leads_to_its_price_from_an_unknown_host(
    book: PriceBook, model: str, priced_by: str
) -> None:
    assert book.explain(model, provider="llm.example.com").provider == priced_by


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openrouter", "deepseek/deepseek-chat-v3.1:free"),
        ("openai", "deepseek/deepseek-chat-v3.1:free"),
        ("gw.example.com", "deepseek/deepseek-chat-v3.1:free"),
        ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo-Free"),
        ("together", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B-free"),
        ("gw.example.com", "together_ai/meta-llama/Llama-Vision-Free"),
    ],
)
def test_a_free_variant_costs_nothing(book: PriceBook, provider: str, model: str) -> None:
    cost = cost_of(book, model, 1_000_000, 10, provider=provider)
    assert cost.total == 0
    assert cost.price_id is not None


@pytest.mark.parametrize("provider", ["vllm", "gw.example.com", "fireworks"])
def test_only_who_says_so_gives_models_away(book: PriceBook, provider: str) -> None:
    with pytest.raises(UnknownModelError):
        book.explain("meta-llama/Llama-3.3-70B-Instruct-Turbo-Free", provider=provider)


@pytest.mark.parametrize(
    ("model", "shorter"),
    [
        ("gpt-4o-mini-prod", ["gpt-4o-mini", "gpt-4o", "gpt"]),
        ("azure/GPT-4o-mini_eu", ["gpt-4o-mini", "gpt-4o", "gpt"]),
        ("gpt-5.7", ["gpt"]),
        ("gpt-4.1.eu", ["gpt-4.1", "gpt"]),
    ],
)
def test_a_name_is_cut_at_its_parts_the_longest_beginning_first(model: str, shorter: list[str]) -> None:
    assert list(families(model)) == shorter


def test_a_host_can_be_named() -> None:
    book = PriceBook(providers={"LLM-gw.example.com": "deepseek"})
    assert book.explain("deepseek-chat", provider="llm-gw.example.com").provider == "deepseek"
    with pytest.raises(UnknownModelError):
        book.explain("gpt-4o", provider="llm-gw.example.com")


def test_a_sellers_own_row_goes_before_the_makers() -> None:
    shared = {"models": ["gpt-4o"], "rates": {"input": "9", "output": "9"}, "valid_from": "2026-01-01"}
    own = {"provider": "azure", "models": ["gpt-4o"], "rates": {"input": "1", "output": "1"}}
    book = PriceBook([{**shared, "provider": "openai"}, own])
    assert per_mtok(book, "gpt-4o", "azure") == (Decimal(1), Decimal(1))
    assert per_mtok(book, "gpt-4o") == (Decimal(9), Decimal(9))


def test_a_fast_tier_is_priority_at_openai_alone(book: PriceBook) -> None:
    assert book.explain("gpt-4.1", service_tier="fast").service_tier == "priority"
    assert book.explain("claude-sonnet-4-5", provider="anthropic", service_tier="fast").service_tier == "fast"


def test_a_region_in_the_tier_adds_its_uplift(book: PriceBook) -> None:
    plain = cost_of(book, "gpt-5.5", 1_000_000, 0).total
    assert plain is not None
    assert cost_of(book, "gpt-5.5", 1_000_000, 0, service_tier="default+eu").total == plain * Decimal("1.1")


@pytest.mark.parametrize("variant", ["nitro", "floor", "exacto"])
def test_how_openrouter_chooses_who_serves_leaves_the_model_as_it_is(book: PriceBook, variant: str) -> None:
    assert per_mtok(book, f"openai/gpt-4o-mini:{variant}", "openrouter") == (Decimal("0.15"), Decimal("0.6"))


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openrouter", "openai/gpt-4o:online"),
        ("openai", "gpt-oss-120b"),
        ("google", "gemini-2.0-flash-exp"),
        ("vertex", "models/gemini-2.5-pro-exp-03-25"),
        ("moonshot", "moonshot-v1-auto"),
        ("snowflake", "claude-3-5-sonnet"),
        ("acme.snowflakecomputing.com", "claude-3-5-sonnet"),
        ("adb-17.azuredatabricks.net", "gpt-5"),
    ],
)
def test_a_price_that_nobody_pays_is_unknown(book: PriceBook, provider: str, model: str) -> None:
    with pytest.raises(UnknownModelError):
        book.explain(model, provider=provider)


def test_a_row_of_ones_own_prices_what_has_no_list_price() -> None:
    row = {"provider": "openai", "models": ["gpt-oss-120b"], "rates": {"input": "0.1", "output": "0.4"}}
    assert per_mtok(PriceBook([row]), "gpt-oss-120b", "openai") == (Decimal("0.1"), Decimal("0.4"))


@pytest.mark.parametrize("model", ["deepseek-r1-distill-qwen-7b", "deepseek-r1-distill-llama-70b"])
def test_a_distilled_model_is_not_on_the_list_of_the_maker_in_its_name(book: PriceBook, model: str) -> None:
    with pytest.raises(UnknownModelError):
        book.explain(model, provider="llm.corp.example.com")


@pytest.mark.parametrize(
    ("model", "maker"),
    [
        ("mixtral-8x7b-instruct", None),
        ("mistral-small-24b-instruct-2501", None),
        ("open-mixtral-8x7b", "mistral"),
        ("mistral-large-latest", "mistral"),
    ],
)
def test_open_weights_have_no_maker_whose_prices_hold_everywhere(model: str, maker: str | None) -> None:
    assert maker_of(model) == maker
