"""What the database in memory answers about prices, bills and savings."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from ingest.documents.what_if import CallsToPrice

Json = dict[str, Any]

PRICES: list[Json] = [
    {
        "price_id": number,
        "provider": provider,
        "model": model,
        "service_tier": tier,
        "valid_from": begins,
        "valid_to": ends,
        "rates": rates,
        "long_context": None,
        "source": "contract 2026-11, annex 2",
        "note": None,
        "created_at": "2026-11-02T09:00:00+00:00",
        "created_by": "local-ops",
        "is_superseded": is_superseded,
    }
    for number, (provider, model, tier, begins, ends, rates, is_superseded) in enumerate(
        [
            ("openai", "gpt-4o", "default", "2026-11-01T00:00:00+00:00", None, {"input": "9", "output": "9"}, True),
            (
                *("openai", "gpt-4o", "default", "2026-11-01T00:00:00+00:00", None),
                *({"input": "2.00", "cached_input": "1.00", "output": "8.00"}, False),
            ),
            ("self-hosted", "qwen3-32b", None, "2026-01-01T00:00:00+00:00", None, {"per_hour": "0.30"}, False),
            (
                *("openai", "o3", "flex", "2025-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00"),
                *({"input": "1", "output": "4"}, False),
            ),
            ("openai", "gpt-4o", "batch", "2099-01-01T00:00:00+00:00", None, {"input": "1", "output": "4"}, False),
        ],
        start=1,
    )
]

# gpt-4o-2024-05-13 costs twice what gpt-4o does; gpt-4o caches nothing here, though half of its prompts repeat.
# Dear calls of an old snapshot, a nightly job, and what may be a smaller model.
_FACTS: Final[tuple[Json, ...]] = (
    {"model": "gpt-4o-2024-05-13", "calls": 21_000, "prompt_tokens": 31_500_000, "completion_tokens": 2_100_000,
     "cost": "189.00"},
    {"model": "gpt-4.1-mini", "feature": "digest", "calls": 9_000, "prompt_tokens": 90_000_000,
     "completion_tokens": 3_000_000, "waste": 64, "cost": "40.80"},
    {"model": "gpt-4.1", "feature": "tutor", "calls": 4_000, "prompt_tokens": 8_000_000, "completion_tokens": 800_000,
     "cost": "22.40"},
)  # fmt: skip


def saving_fact(**fields: Any) -> Json:
    """A fact of 20 even days, in the form of `get_savings_evidence`."""
    fact: Json = {
        "provider": "openai", "feature": "chat", "operation": "chat", "service_tier": "", "band": 0, "waste": 0,
        "days": 20, "example_event_id": "00000000-0000-0000-0000-000000000001", **fields,
    }  # fmt: skip
    fact["cost_squares"] = str(Decimal(fact["cost"]) ** 2 / 20)
    return {**dict.fromkeys(_COUNTS, 0), **fact}


_COUNTS: Final = (
    "calls", "prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "reasoning_tokens", "missed_5_tokens", "missed_10_tokens", "missed_60_tokens", "first_tokens",
    "excess_prompt_tokens", "excess_output_tokens", "excess_reasoning_tokens", "short_lived_tokens", "cut_off",
    "regenerated", "continued", "tool_retries", "liked", "disliked",
)  # fmt: skip


def _names(name: str, amount: str) -> list[Json]:
    return [{"name": name, "amount": amount}]


@dataclass
class PriceAnswers:
    """Answers of the functions about prices, as a part of `FakeDatabase`."""

    has_bill: bool = True
    has_savings: bool = True
    has_dismissed: bool = False
    scenarios: list[Json] = field(default_factory=list)
    prices: list[Json] = field(default_factory=lambda: list(PRICES))
    terms: list[Json] = field(default_factory=list)
    cost_sums: list[Json] = field(default_factory=list)
    rows_to_reprice: int = 300
    catalogue: Json | None = None

    def _get_reconciliation(self, from_time: str, to_time: str, filters: Json) -> Json:
        totals: Json = {"days": 0, "open_days": 0, "days_without_bill": 7, "fetched_at": None}
        explanations: list[Json] = []
        hints: list[Json] = []
        revisions: list[Json] = []
        if self.has_bill:
            totals |= {
                "days": 6,
                "open_days": 1,
                "days_without_bill": 1,
                "billed_cost": "412.53",
                "recorded_cost": "396.904512",
            }
            totals |= {"drift": "15.625488", "drift_fraction": "0.037877"}
            explanations = [
                {
                    "cause": "calls_not_recorded",
                    "requests": 3_104,
                    "amount": "9.81",
                    "details": _names("gpt-4o", "9.81"),
                },
                {"cause": "credits", "requests": None, "amount": "-6", "details": _names("Refund", "-6")},
                {"cause": "price", "requests": None, "amount": "5.2", "details": _names("o4-mini", "5.2")},
                {"cause": "fees", "requests": None, "amount": "3.2", "details": _names("web search", "3.2")},
                {"cause": "unrecorded_projects", "requests": 96, "amount": "2.54", "details": _names("proj_b", "2.54")},
                {"cause": "unexplained", "requests": None, "amount": "0.875488", "details": None},
            ]
            hints = [{"hint": "estimated_usage", "requests": 2_870}]
            revised = {"day": "2026-03-02", "source": "api", "old_cost": "71.5", "new_cost": "70", "amount": "-1.5"}
            revisions = [revised | {"revised_at": "2026-03-05T06:00:00+00:00"}]
        return {
            "access": "ops",
            "provider": filters["provider"][0],
            "currency": "usd",
            "from_day": from_time[:10],
            "to_day": to_time[:10],
            "generated_at": datetime.now(UTC).isoformat(),
            "totals": totals,
            "days": [],
            "by_model": [],
            "items": [],
            "explanations": explanations,
            "hints": hints,
            "revisions": revisions,
        }

    def _get_savings_evidence(self, from_time: str, to_time: str, filters: Json) -> Json:
        del filters
        end = datetime.fromisoformat(to_time)
        days = [(end - timedelta(days=number)).date().isoformat() for number in range(20, 0, -1)]
        facts = [saving_fact(**fields) for fields in _FACTS] if self.has_savings else []
        spend = sum((Decimal(fact["cost"]) for fact in facts), Decimal(0))
        return {
            "access": getattr(self, "access", "ops"), "generated_at": to_time, "from_time": from_time,
            "to_time": to_time, "spend": str(spend), "requests": 50_000, "days": days, "facts": facts,
            "users": [{"user_id": "user_a", "cost": str(spend / 2), "requests": 20_000}],
        }  # fmt: skip

    def _get_calls_to_price(self, from_time: str, to_time: str, filters: Json) -> Json:
        end = datetime.fromisoformat(to_time)
        facts = [saving_fact(**fields) for fields in _FACTS] if self.has_savings else []
        chosen = [fact for fact in facts if all(fact.get(name, "openai") in filters[name] for name in filters)]
        names = set(CallsToPrice.model_fields)
        apart: Json = {"provider": "openai", "cached_tokens": 0, "prompt_tokens": 1_000_000, "completion_tokens": 0}
        days = [(end - timedelta(days=number)).date().isoformat() for number in range(20, 0, -1)]
        return {
            "access": getattr(self, "access", "ops"),
            "generated_at": to_time,
            "from_time": from_time,
            "to_time": to_time,
            "days": days if chosen else [],
            "cost": str(sum((Decimal(fact["cost"]) for fact in chosen), Decimal(0))),
            "calls": [{name: value for name, value in fact.items() if name in names} for fact in chosen],
            "uncertain": [
                apart | {"source": "fallback", "model": "house-1", "calls": 12, "cost": "2.50"},
                apart | {"source": "unpriced", "model": "house-2", "calls": 7, "cost": None},
            ],
        }

    def _get_scenarios(self) -> Json:
        return {
            "access": getattr(self, "access", "ops"), "generated_at": "2026-01-01T00:00:00+00:00",
            "scenarios": self.scenarios,
        }  # fmt: skip

    def _save_scenario(self, scenario: Json) -> int:
        kept = {"scenario_id": len(self.scenarios) + 1, "created_by": "ana", "created_at": "2026-01-01T12:00:00+00:00"}
        self.scenarios.insert(0, {**scenario, **kept})
        return len(self.scenarios)

    def _delete_scenario(self, scenario_id: int) -> bool:
        self.scenarios = [one for one in self.scenarios if one["scenario_id"] != scenario_id]
        return True

    def _get_saving_ledger(self) -> Json:
        """One accepted and verified, one dismissed that the plan has, and one open."""
        base: Json = {
            "kind": "batch", "provider": "openai", "model": "gpt-4.1-mini", "feature": "digest", "replacement": None,
            "headline": "Send digest as a batch", "needs_evaluation": False, "low": "20", "expected": "30.60",
            "high": "40", "opened_at": "2026-09-01T00:00:00+00:00", "accepted_on": None, "accepted_expected": None,
            "reason": None, "measured_low": None, "measured_expected": None, "measured_high": None, "measured_by": None,
        }  # fmt: skip
        verified: Json = {
            "suggestion_key": "batch/openai/gpt-4.1-mini/night",
            "headline": "Send night as a batch",
            "state": "verified",
            "accepted_on": "2026-01-01",
            "accepted_expected": "30",
            "measured_low": "25",
            "measured_expected": "30",
            "measured_high": "35",
            "measured_by": "holdout",
        }
        dismissed: Json = {
            "suggestion_key": "smaller_model/openai/gpt-4.1/tutor", "headline": "Evaluate gpt-4.1-mini for tutor",
            "state": "dismissed", "reason": "pupils <b>notice</b>",
        }  # fmt: skip
        opened: Json = {"suggestion_key": "cheaper_snapshot/openai/gpt-4o-2024-05-13/*", "state": "open"}
        entries = [base | one for one in (verified, opened, *((dismissed,) if self.has_dismissed else ()))]
        return {"access": getattr(self, "access", "ops"), "entries": entries}

    def _get_prices(self) -> Json:
        described = self.catalogue and {name: one for name, one in self.catalogue.items() if name != "content"}
        return {"generated_at": datetime.now(UTC).isoformat(), "catalogue": described, "prices": list(self.prices)}

    def _get_price_catalogue(self) -> Json | None:
        return self.catalogue

    def _get_rows_to_reprice(
        self,
        from_time: str,
        to_time: str,
        filters: Json,
        after_created_at: str | None,
        after_event_id: str | None,
        max_rows: int,
    ) -> Json:
        """Give calls of gpt-4o at 2.50 and 10.00 $, one a second, and one in ten of a model without a price."""
        del to_time, filters, after_created_at
        first = int(after_event_id or -1) + 1
        start = datetime.fromisoformat(from_time)
        rows = [
            {
                "event_id": str(number),
                "created_at": (start + timedelta(seconds=number)).isoformat(),
                "provider": "openai",
                "model": "my-model" if number % 10 == 0 else "gpt-4o",
                "prompt_tokens": 1000,
                "completion_tokens": 100,
                **({} if number % 10 == 0 else {"estimated_cost": "0.0035", "price_id": "old"}),
                "cost_source": "unpriced" if number % 10 == 0 else "priced",
            }
            for number in range(first, min(first + max_rows, self.rows_to_reprice))
        ]
        is_last = first + max_rows >= self.rows_to_reprice
        last = rows[-1] if rows and not is_last else None
        return {"rows": rows, "next": last and {"created_at": last["created_at"], "event_id": last["event_id"]}}

    def _get_terms(self) -> Json:
        return {"terms": self.terms}

    def _get_cost_sums(self, **days: Any) -> Json:
        return {"sums": [one for one in self.cost_sums if days["from_day"] <= one["day"] < days["to_day"]]}
