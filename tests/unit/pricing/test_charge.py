"""The one decision what a recorded call costs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pricing import Charge, PriceBook, UsageError
from pricing.charge import charge

AT = "2026-11-20T12:00:00+00:00"
CALL: dict[str, Any] = {
    "provider": "openai", "model": "gpt-4o", "created_at": AT, "prompt_tokens": 150, "completion_tokens": 50,
}  # fmt: skip


def charged(fallback: str | None = "gpt-4o", **fields: Any) -> Charge:
    return charge({**CALL, **fields}, PriceBook.default(), fallback)


def test_a_known_call_is_priced() -> None:
    found = charged()
    assert (found.total, found.source, found.unknown, found.flags) == (Decimal("0.000875"), "priced", (), ())
    assert found.price_id is not None


def test_what_the_provider_charged_counts_alone() -> None:
    assert charged(provider_cost="0.5", request_fees="0.1") == Charge(Decimal("0.5"), "provider")


def test_a_refund_is_negative_and_marked() -> None:
    assert charged(provider_cost="-0.5") == Charge(Decimal("-0.5"), "provider", flags=("cost:adjustment",))


def test_fees_of_units_come_on_top() -> None:
    assert charged(usage_details={"units": {"web_search": 2}}).total == Decimal("0.020875")


def test_a_fee_without_a_price_leaves_the_tokens_and_is_named() -> None:
    found = charged(usage_details={"units": {"x_search": 2}})
    assert (found.total, found.source) == (Decimal("0.000875"), "priced")
    assert (found.unknown, found.flags) == (("x_search",), ("cost:x_search_unpriced",))


def test_tokens_without_a_price_leave_the_fees_and_are_named() -> None:
    found = charged(provider="anthropic", model="claude-next", usage_details={"units": {"web_search": 3}})
    assert (found.total, found.source, found.price_id) == (Decimal("0.03"), "priced", None)
    assert (found.unknown, found.flags) == (("tokens",), ("cost:tokens_unpriced",))


def test_of_tokens_it_is_all_or_nothing() -> None:
    found = charged(audio_input_tokens=10)  # gpt-4o has no rate for audio
    assert (found.total, found.source, found.unknown) == (None, "unpriced", ("tokens",))


def test_a_tier_without_a_price_is_unknown_and_fees_count() -> None:
    assert charged(service_tier="scale").total is None
    assert charged(service_tier="scale", request_fees="0.01").total == Decimal("0.01")


@pytest.mark.parametrize(
    ("model", "source"),
    [
        *((name, "fallback") for name in ("gpt-99", "o9-mini", "chatgpt-9", "text-embedding-9", "ft:gpt-99:acme::x")),
        *((name, "fallback") for name in ("openai/gpt-99", "azure/eu/gpt-99")),
        *((name, "unpriced") for name in ("gpt-oss-9", "gpt-image-9", "gpt-99-transcribe", "sora-9", "dall-e-9")),
        *((name, "unpriced") for name in ("claude-9", "llama4:8b", "org/Model", "my-deployment", "tts-9", "whisper-9")),
    ],
)
def test_the_fallback_stands_in_for_names_of_openais_kind_alone(model: str, source: str) -> None:
    found = charged(provider="gw.example.com", model=model)
    assert found.source == source
    assert found.total == (Decimal("0.000875") if source == "fallback" else None)


@pytest.mark.parametrize(
    ("model", "stand_in", "total"),
    [
        ("gpt-4o-mini-prod", "gpt-4o-mini", "0.0000525"),  # 150 x 0.15 + 50 x 0.60
        ("gpt-4o-mini_prod-2", "gpt-4o-mini", "0.0000525"),
        ("gpt-5-nano-eu", "gpt-5-nano", "0.0000275"),  # 150 x 0.05 + 50 x 0.40
        ("gpt-4.1.canary", "gpt-4.1", "0.0007"),  # 150 x 2 + 50 x 8
    ],
)
def test_a_deployment_named_after_its_model_falls_back_to_that_model(model: str, stand_in: str, total: str) -> None:
    found = charged(provider="azure", model=model)
    assert (found.total, found.source) == (Decimal(total), "fallback")
    assert str(found.price_id).partition("/")[2].partition("#")[0] == stand_in
    assert charged(None, provider="azure", model=model).source == "unpriced"


@pytest.mark.parametrize("provider", ["ollama", "localhost:11434", "http://10.0.0.5:8000/v1", "gpu-box:8000"])
def test_a_server_of_ones_own_is_unpriced(provider: str) -> None:
    assert charged(provider=provider, model="gpt-99").total is None


@pytest.mark.parametrize("provider", ["groq", "cerebras", "cloudflare", "openrouter", "aws"])
def test_openais_own_price_stands_in_before_that_of_another_model(provider: str) -> None:
    found = charged(provider=provider, model="gpt-4o-mini")
    # 150 * 0.15 / 1e6 + 50 * 0.60 / 1e6; as gpt-4o it would be 16.7 times as much
    assert (found.total, found.source) == (Decimal("0.0000525"), "fallback")


@pytest.mark.parametrize(
    "host",
    ["gateway.ai.cloudflare.com", "anthropic-proxy.corp.example", "google-llm.corp.example", "bedrock.corp.example"],
)
def test_a_gateway_whose_name_holds_a_providers_word_is_a_gateway(host: str) -> None:
    assert (charged(provider=host, model="gpt-4o-mini").total, charged(provider=host, model="gpt-4o-mini").source) == (
        Decimal("0.0000525"),
        "priced",
    )
    found = charged(provider=host, model="anthropic/claude-sonnet-4-5")
    assert (found.total, found.source) == (Decimal("0.0012"), "priced")  # 150 * 3 / 1e6 + 50 * 15 / 1e6


def test_nothing_counted_of_a_refused_call_costs_nothing() -> None:
    nothing: dict[str, Any] = {"prompt_tokens": 0, "completion_tokens": 0}
    assert charged(model="gpt-image-1", **nothing).total is None
    assert charged(model="gpt-image-1", status="error", **nothing).total == 0
    assert charged(**nothing).total == 0


@pytest.mark.parametrize(
    ("reported", "flags"),
    [
        ("0.00175", ()),
        ("0.0017501", ("reported_cost:differs",)),
        ("0.0004375", ()),
        ("0.0004374", ("reported_cost:differs",)),
        ("0", ()),
    ],
)
def test_a_figure_of_unknown_unit_is_compared_by_a_factor_of_two(reported: str, flags: tuple[str, ...]) -> None:
    found = charged(usage_details={"reported_cost": reported})
    assert (found.total, found.flags) == (Decimal("0.000875"), flags)


def test_a_negative_duration_is_refused() -> None:
    row = {"provider": "vllm", "models": ["m"], "rates": {"per_hour": "1"}}
    with pytest.raises(UsageError):
        charge({**CALL, "provider": "vllm", "model": "m", "latency_ms": -1}, PriceBook([row]), None)


def test_a_call_paid_by_the_hour_without_its_time_is_unknown() -> None:
    row = {"provider": "vllm", "models": ["m"], "rates": {"per_hour": "1"}}
    found = charge({**CALL, "provider": "vllm", "model": "m"}, PriceBook([row]), None)
    assert (found.total, found.unknown) == (None, ("duration",))


@pytest.mark.parametrize("count", ["prompt_tokens", "completion_tokens"])
def test_a_count_that_no_call_can_have_has_no_cost(count: str) -> None:
    fields: dict[str, Any] = {count: 10**12}
    assert charged(**fields) == Charge(None, "unpriced", unknown=("usage",))
