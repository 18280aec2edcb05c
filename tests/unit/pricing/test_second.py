"""The second catalogue fills what the base leaves open, and goes before it where the base only guessed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from pricing import PriceBook, PriceRow, Rates
from pricing.second import SecondCatalogue, completed, same_name
from tests.support.pricing import cost_of

if TYPE_CHECKING:
    from collections.abc import Mapping

AT = datetime(2026, 11, 25, tzinfo=UTC)
MILLION = 1_000_000


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.default()


def table(
    figures: Mapping[str, str], provider: str = "acme", name: str = "m", *, since: str | None = None
) -> SecondCatalogue:
    models = {provider: [[[name], figures, {"default": since} if since else {}, True]]}
    return SecondCatalogue({"source": "table 1", "day": "2026-11-19", "models": models})


def base(**figures: str) -> PriceRow:
    band = Rates().with_figures({name: Decimal(figure) for name, figure in figures.items()})
    return PriceRow("genai", "acme", ("m",), (band,))


def one(
    catalogue: SecondCatalogue, rows: list[PriceRow], tier: str = "default", *, is_exact: bool = True
) -> list[PriceRow]:
    return completed(rows, catalogue.find("acme", "acme", "m"), tier, is_exact=is_exact)


def test_a_missing_figure_is_filled_where_input_and_output_agree() -> None:
    (row,) = one(table({"input": "2", "output": "8", "cached_input": "0.5"}), [base(input="2", output="8")])
    assert (row.layer, row.bands[0].cached_input) == ("genai", Decimal("0.5"))
    assert row.note == "gaps filled from the table of table 1 of 2026-11-19"


def test_nothing_is_filled_from_the_price_of_another_time_or_model() -> None:
    rows = [base(input="2", output="8")]
    assert one(table({"input": "2", "output": "9", "cached_input": "0.5"}), rows) == rows


def test_a_figure_of_the_base_stays() -> None:
    (row,) = one(
        table({"input": "2", "output": "8", "cached_input": "0.5"}), [base(input="2", output="8", cached_input="1")]
    )
    assert row.bands[0].cached_input == 1


def test_a_band_for_long_context_is_added_with_the_figures_that_it_names() -> None:
    figures = {"input": "2", "output": "8", "long200.input": "4", "long200.output": "12"}
    (row,) = one(table(figures), [base(input="2", output="8", cache_write="2.5")])
    assert [(band.above_tokens, band.input, band.cache_write, band.output) for band in row.bands] == [
        (0, Decimal(2), Decimal("2.5"), Decimal(8)),
        (200_000, Decimal(4), Decimal("2.5"), Decimal(12)),
    ]


def test_a_tier_that_the_base_lacks_comes_from_the_table() -> None:
    (row,) = one(table({"input": "2", "output": "8", "batch.input": "1", "batch.output": "4"}), [], "batch")
    assert (row.layer, row.service_tier, row.bands[0].output) == ("litellm", "batch", Decimal(4))


def test_a_price_that_was_another_one_before_begins_on_its_first_day() -> None:
    (row,) = one(table({"input": "2", "output": "8"}, since="2026-09-26"), [])
    assert row.valid_from == datetime(2026, 9, 26, tzinfo=UTC)


def test_a_models_units_without_tokens_are_measured_so_that_no_count_is_no_zero(book: PriceBook) -> None:
    # 0.05 $ a minute.
    (row,) = one(table({"unit.audio_seconds": "0.05/60"}), [])
    assert row.bands[0].is_measured
    assert cost_of(book, "gpt-transcribe", 0, 0, at=AT).total is None


def test_fireworks_path_is_part_of_the_host_not_of_the_name() -> None:
    assert same_name("glm-5p3", "accounts/fireworks/models/glm-5p3")
    assert not same_name("gemini-1.5-flash", "gemini-1.5-flash-8b")


@pytest.mark.parametrize(
    ("model", "input_tokens", "usd"),
    [
        # Sonnet 4.5 in a geography: 3 $ + 10 %, above 200,000 tokens twice as much.
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000, "0.66"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_001, "1.3200066"),
        # GovCloud: 3 $ + 20 %.
        ("us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", 100_000, "0.36"),
        # A name that no table has: what the model costs elsewhere, 0.72 $, + 20 %.
        ("us-gov.meta.llama3-3-70b-instruct-v1:0", 100_000, "0.0864"),
        # Nova Micro in Asia: 0.037 $ instead of 0.035 $.
        ("apac.amazon.nova-micro-v1:0", MILLION, "0.037"),
        # The geography counts within a path too. Nova Pro in Europe: 1.05 $ instead of 0.80 $.
        ("eu.amazon.nova-pro-v1:0", MILLION, "1.05"),
        ("bedrock/eu.amazon.nova-pro-v1:0", MILLION, "1.05"),
        ("bedrock/converse/eu.amazon.nova-pro-v1:0", MILLION, "1.05"),
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.amazon.nova-pro-v1:0", MILLION, "1.05"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", MILLION, "0.8"),
        (
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            200_001,
            "1.3200066",
        ),
        # OpenAI's newest in a region: 2 $ + 10 %, which the table lacks.
        ("openai.gpt-6-sol", 100_000, "0.22"),
    ],
)
def test_bedrock_prices_geographies_and_long_context(book: PriceBook, model: str, input_tokens: int, usd: str) -> None:
    assert cost_of(book, model, input_tokens, 0, provider="aws", at=AT).total == Decimal(usd)


@pytest.mark.parametrize(
    ("provider", "model", "usd"),
    [
        ("azure", "deepseek-v3.2", "0.58"),  # DeepSeek's own: 0.28
        ("deepseek", "deepseek-v3.2", "0.28"),
        ("vertex_ai", "gemini-2.0-flash", "0.15"),  # through Google's own API: 0.10
        ("google", "gemini-2.0-flash", "0.1"),
        ("vertex_ai", "gemini-3.8-flash-cyber", "1.5"),  # gemini-3.8-flash: 0.75
    ],
)
def test_a_cloud_that_has_its_own_price_is_not_charged_the_makers(
    book: PriceBook, provider: str, model: str, usd: str
) -> None:
    assert cost_of(book, model, MILLION // 10, 0, provider=provider, at=AT).total == Decimal(usd) / 10


def test_a_router_and_a_price_that_nobody_entered_are_not_in_the_table() -> None:
    catalogue = SecondCatalogue.default()
    assert catalogue.find("azure", "azure", "model-router") is None
    assert catalogue.find("cohere", "cohere", "rerank-v3.5") is None
    assert catalogue.find("google", "google", "gemini-exp-1114") is None


def test_every_row_of_the_table_can_be_read() -> None:
    catalogue = SecondCatalogue.default()
    for provider, name in catalogue.names():
        entry = catalogue.find(provider, provider, name)
        assert entry is not None
        for tier in ("default", "batch", "flex", "priority"):
            row = entry.row(tier)
            assert row is None or row.price_id.startswith(f"litellm:{provider}/{name}")
