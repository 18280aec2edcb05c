"""A database for the app's tests that answers from memory with life-like documents, in the shapes of the contract."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from tests.app.alert_documents import AlertAnswers
from tests.app.call_documents import CallAnswers
from tests.app.health_documents import HealthAnswers
from tests.app.month_documents import STEPS, MonthAnswers, bucket_for, starts
from tests.app.names import ENVIRONMENTS, FEATURES, MODELS
from tests.app.price_documents import PriceAnswers
from tests.app.recording import READS, differences, recorded
from tests.app.session_documents import SessionAnswers
from tests.app.statement_documents import StatementAnswers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.database import JsonValue
    from ingest.errors import TreeringError

Json = dict[str, Any]


def load_at(moment: datetime) -> float:
    """Calls per hour at a moment: days and nights, weekdays and weekends."""
    hour = moment.hour + moment.minute / 60
    daily = 0.35 + 0.65 * max(0.0, math.sin((hour - 5) / 24 * 2 * math.pi)) ** 1.2
    weekly = 0.55 if moment.weekday() >= 5 else 1.0
    return float(640 * daily * weekly)


@dataclass
class FakeDatabase(
    AlertAnswers, CallAnswers, HealthAnswers, MonthAnswers, PriceAnswers, SessionAnswers, StatementAnswers
):
    """Answers the read functions in the form of the recorded documents; remembers every call; refuses when told to."""

    pending_rows: int = 0
    has_routes: bool = True
    repriced: Json | None = None
    is_sure: bool = False
    error: TreeringError | None = None
    errors: dict[str, TreeringError] = field(default_factory=dict)
    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    is_closed: bool = False
    views: list[Json] = field(default_factory=list)
    data_begin_at: datetime = datetime(2020, 1, 1, tzinfo=UTC)

    def call(self, function: str, /, **arguments: Any) -> JsonValue:
        self.calls.append((function, arguments))
        if self.error is not None:
            raise self.error
        sent = {name: one.isoformat() if isinstance(one, datetime) else one for name, one in arguments.items()}
        self.refuse(sent)
        if function in self.errors:
            raise self.errors[function]
        answer = getattr(self, f"_{function}", None)
        document: JsonValue = answer(**sent) if answer else True
        if function in READS and (strange := differences(recorded(function), document, is_whole=False)):
            raise AssertionError(f"{function} never returns this: {', '.join(strange)}")
        return document

    def close(self) -> None:
        self.is_closed = True

    def _get_views(self) -> Json:
        return {"views": self.views}

    def _save_view(self, view: Json) -> Json:
        kept = {"view_id": len(self.views) + 1, "owner": "local-ops", "saved_at": "2026-05-04T12:00:00+00:00"}
        self.views.append({**kept, **view, "is_own": True})
        return self.views[-1]

    def _delete_view(self, view_id: int) -> bool:
        self.views = [view for view in self.views if view["view_id"] != view_id]
        return True

    # -- documents -----------------------------------------------------------------------------------------------

    def _common(self, from_time: str, to_time: str, filters: Json) -> tuple[Json, list[Json], random.Random]:
        start, end = datetime.fromisoformat(from_time), datetime.fromisoformat(to_time)
        zone = ZoneInfo(filters.get("timezone", "UTC"))
        bucket = bucket_for(end - start)
        rng = random.Random(7)
        hours = STEPS.get(bucket, 86400) / 3600
        cells: list[Json] = []
        models = {name: row for name, row in MODELS.items() if not filters.get("model") or name in filters["model"]}
        for moment in [] if self.is_empty else starts(start, end, bucket, zone):
            if moment > datetime.now(UTC):
                continue
            seen = min(hours, (end - moment).total_seconds() / 3600)
            spike = 2.6 if moment.date() == (end - (end - start) / 4).date() and bucket in ("day", "hour") else 1.0
            for name, (provider, share, price_in, price_out, latency) in models.items():
                load = load_at(moment) * seen * share * (spike if name == "gpt-4o" else 1)
                calls = math.ceil(load * rng.uniform(0.8, 1.2))  # a minute of a weekend's night has one, too
                prompt = int(calls * rng.uniform(820, 1180))
                done = 0 if price_out == "0" else int(calls * rng.uniform(160, 260))
                cost = (prompt * Decimal(price_in) + done * Decimal(price_out)) / 1_000_000
                cells.append(
                    {
                        "bucket_start": moment.isoformat(),
                        "model": name,
                        "provider": provider,
                        "requests": calls,
                        "prompt_tokens": prompt,
                        "completion_tokens": done,
                        "total_tokens": prompt + done,
                        "cached_tokens": int(prompt * 0.31),
                        "reasoning_tokens": int(done * 0.22) if name in ("gpt-5.1", "o4-mini") else 0,
                        "errors": int(calls * rng.uniform(0, 0.02)),
                        "cost": None if self.is_unpriced else cost,
                        "latency": latency * 1000 * rng.uniform(0.9, 1.15),
                    }
                )
        totals = self._totals(cells)
        document = {
            "access": self.access,
            "from_time": from_time,
            "to_time": to_time,
            "bucket": bucket,
            "timezone": zone.key,
            "generated_at": datetime.now(UTC).isoformat(),
            "previous_from": (start - (end - start)).isoformat(),
            "data_begin_at": self.data_begin_at.isoformat(),
            "newest_event_at": self.newest_event_at.isoformat() if self.newest_event_at else None,
            "pending_rows": self.pending_rows,
            "has_demo_data": self.has_demo_data,
            "options": {
                "models": list(MODELS),
                "providers": ["anthropic", "google", "openai"],
                "features": list(FEATURES),
                "environments": list(ENVIRONMENTS),
                "operations": ["chat", "embeddings"],
            },
            "totals": totals,
            "previous": self._totals(cells, factor=0.91),
        }
        return document, cells, rng

    def _totals(self, cells: list[Json], factor: float = 1.0) -> Json:
        def total(key: str) -> int:
            return int(sum(cell[key] for cell in cells) * factor)

        requests = total("requests")
        cost = None if self.is_unpriced or not cells else sum(cell["cost"] for cell in cells) * Decimal(str(factor))
        latency = {"count": requests, "p50": 1840.0 / factor, "p90": 5210.5, "p99": 14_950.0 / factor}
        first = {"count": requests, "p50": 412.0, "p90": 1180.0 * factor, "p99": 3300.0}
        none = {"count": 0, "p50": None, "p90": None, "p99": None}
        priced = 0 if self.is_unpriced else int(sum(cell["total_tokens"] for cell in cells) * factor)
        return {
            "wholly_priced_cost": "0" if cost is None else str(cost),
            "wholly_priced_tokens": priced,
            "requests": requests,
            "prompt_tokens": total("prompt_tokens"),
            "completion_tokens": total("completion_tokens"),
            "total_tokens": total("total_tokens"),
            "cached_tokens": total("cached_tokens"),
            "cache_write_tokens": 0,
            "reasoning_tokens": total("reasoning_tokens"),
            "audio_input_tokens": 0,
            "audio_output_tokens": 0,
            "errors": total("errors"),
            "cancelled": int(requests * 0.006),
            "cost": None if cost is None else str(cost),
            "fallback_cost": "0" if cost is None else str(cost * Decimal("0.018")),
            "provider_reported_cost": "0",
            "unpriced_requests": requests if self.is_unpriced else 0 if self.is_sure else int(requests * 0.004),
            "estimated_requests": int(requests * 0.021),
            "fallback_requests": 0 if self.is_sure else int(requests * 0.02),
            "users": 0 if not cells else int(218 * factor),
            "latency_ms": latency if cells else none,
            "time_to_first_token_ms": first if cells else none,
        }

    def _row(self, key: str | None, cells: list[Json], share: float = 1.0, *, is_other: bool = False) -> Json:
        totals = self._totals(cells, share)
        cost = totals["cost"]
        row = {name: totals[name] for name in ("requests", "total_tokens", "prompt_tokens", "completion_tokens")}
        row |= {"key": key, "cached_tokens": totals["cached_tokens"], "errors": totals["errors"], "cost": cost}
        row["previous_cost"] = None if cost is None else str(Decimal(cost) * Decimal("0.88"))
        return row | ({"is_other": True} if is_other else {})

    def _by_model(self, cells: list[Json]) -> list[Json]:
        rows = [self._row(name, [cell for cell in cells if cell["model"] == name]) for name in MODELS]
        rows = [row for row in rows if row["requests"]]
        return sorted(rows, key=lambda row: -Decimal(row["cost"] or 0))

    def _by_share(self, cells: list[Json], shares: Mapping[str, float]) -> list[Json]:
        return [self._row(name, cells, share) for name, share in shares.items()] if cells else []

    def _by_user(self, cells: list[Json]) -> list[Json]:
        shares = [0.094, 0.081, 0.06, 0.052, 0.044, 0.041, 0.033, 0.03, 0.028, 0.026]
        rng = random.Random(3)
        names = ["user_" + "".join(rng.choices("abcdefghijkmnpqrstuvwxyz23456789", k=12)) for _ in shares]
        rows = self._by_share(cells, dict(zip(names, shares, strict=True)))
        return [*rows, self._row(None, cells, 1 - sum(shares), is_other=True)] if cells else []

    def _merged(self, cells: list[Json]) -> list[Json]:
        merged: dict[str, Json] = {}
        for cell in cells:
            point = merged.setdefault(
                cell["bucket_start"],
                {"bucket_start": cell["bucket_start"], "requests": 0, "total_tokens": 0, "errors": 0, "cost": None},
            )
            for key in ("requests", "total_tokens", "errors"):
                point[key] += cell[key]
            if cell["cost"] is not None:
                point["cost"] = (point["cost"] or Decimal(0)) + cell["cost"]
        for point in merged.values():
            point["cost"] = None if point["cost"] is None else str(point["cost"])
            point["latency_p90_ms"] = 5200.0
        return list(merged.values())

    def _grouped(self, cells: list[Json], filters: Json) -> list[Json]:
        key = {"provider": "provider"}.get(filters.get("group_by", "model"), "model")
        merged: dict[tuple[str, str], Json] = {}
        for cell in cells:
            figures = {name: value for name, value in cell.items() if name not in ("latency", "model", "provider")}
            point = merged.setdefault((cell["bucket_start"], cell[key]), {**figures, "key": cell[key], "cost": None})
            if cell["cost"] is not None:
                point["cost"] = str(Decimal(point["cost"] or 0) + cell["cost"])
        return list(merged.values())

    # -- pages -----------------------------------------------------------------------------------------------------

    def _get_overview(self, from_time: str, to_time: str, filters: Json) -> Json:
        document, cells, _ = self._common(from_time, to_time, filters)
        return document | {
            "series": self._merged(cells),
            "top_models": self._by_model(cells),
            "top_features": self._by_share(cells, FEATURES),
            "top_users": self._by_user(cells),
            "firing_alerts": self.firing,
        }

    def _get_usage(self, from_time: str, to_time: str, filters: Json) -> Json:
        document, cells, _ = self._common(from_time, to_time, filters)
        return document | {
            "series": self._grouped(cells, filters),
            "by_model": self._by_model(cells),
            "by_feature": self._by_share(cells, FEATURES),
            "by_user": self._by_user(cells),
            "by_operation": self._by_share(cells, {"chat": 0.97, "embeddings": 0.03}),
            "by_status": self._by_share(cells, {"ok": 0.984, "error": 0.01, "cancelled": 0.006}),
        }

    def _get_costs(self, from_time: str, to_time: str, filters: Json) -> Json:
        document, cells, _ = self._common(from_time, to_time, filters)
        return document | {
            "series": self._grouped(cells, filters),
            "by_model": self._by_model(cells),
            "by_feature": self._by_share(cells, FEATURES),
            "by_provider": self._by_share(cells, {"openai": 0.84, "anthropic": 0.13, "google": 0.03}),
            "by_environment": self._by_share(cells, ENVIRONMENTS),
            "by_user": self._by_user(cells),
            "token_kinds": [
                {
                    name: row[name]
                    for name in ("requests", "prompt_tokens", "completion_tokens", "cached_tokens", "cost")
                }
                | {"model": row["key"], "provider": MODELS[row["key"]][0]}
                for row in self._by_model(cells)
                if row["cost"] is not None
            ],
            "model_fees": [{"provider": "openai", "model": "gpt-4o", "fees": "0.25"}],
            "repriced": self.repriced,
        }

    def _get_performance(self, from_time: str, to_time: str, filters: Json) -> Json:
        document, cells, rng = self._common(from_time, to_time, filters)
        del document["totals"]["users"], document["previous"]["users"]
        merged = self._merged(cells)
        series = [self._speed_point(point, rng, index) for index, point in enumerate(merged)]
        rows = [
            {
                "key": row["key"],
                "requests": row["requests"],
                "errors": row["errors"],
                "latency_p50_ms": MODELS[row["key"]][4] * 1000,
                "latency_p90_ms": MODELS[row["key"]][4] * 2400,
                "latency_p99_ms": MODELS[row["key"]][4] * 6100,
                "time_to_first_token_p50_ms": None if "embedding" in row["key"] else MODELS[row["key"]][4] * 210,
                "time_to_first_token_p90_ms": None if "embedding" in row["key"] else MODELS[row["key"]][4] * 480,
            }
            for row in self._by_model(cells)
        ]
        routes = ["/api/chat", "/api/chat/{chat_id}/messages", "/api/search", "/api/documents/{id}/summary", "/healthz"]
        by_route = [
            {
                "key": name,
                "method": "GET" if name in ("/healthz", "/api/search") else "POST",
                "requests": 41_220 // (index + 1),
                "errors": 210 // (index + 1) ** 2,
                "latency_p50_ms": 2300.0 / (index + 1) ** 2,
                "latency_p90_ms": 5900.0 / (index + 1) ** 2,
                "latency_p99_ms": 15_800.0 / (index + 1) ** 2,
            }
            for index, name in enumerate(routes)
        ]
        has_routes = self.has_routes and not self.is_empty
        return document | {
            "series": series,
            "by_model": rows,
            "by_feature": [row | {"key": name} for row, name in zip(rows, FEATURES, strict=False)],
            "errors_by_type": []
            if not cells
            else [
                {"error_type": "RateLimitError", "requests": 512},
                {"error_type": "APITimeoutError", "requests": 230},
                {"error_type": "BadRequestError", "requests": 61},
                {"error_type": None, "requests": 9},
            ],
            "routes": {
                "requests": 94_120 if has_routes else 0,
                "errors": 312 if has_routes else 0,
                "latency_ms": {"count": 94_120, "p50": 214.0, "p90": 3800.0, "p99": 11_200.0}
                if has_routes
                else {"count": 0, "p50": None, "p90": None, "p99": None},
                "series": [_without_first_token(point) for point in series] if has_routes else [],
                "by_route": by_route if has_routes else [],
            },
        }

    def _speed_point(self, point: Json, rng: random.Random, index: int) -> Json:
        base = 1900 + 500 * math.sin(index / 9) + rng.uniform(-120, 120)
        return {
            "bucket_start": point["bucket_start"],
            "requests": point["requests"],
            "errors": point["errors"],
            "latency_p50_ms": base,
            "latency_p90_ms": base * rng.uniform(2.3, 2.8),
            "latency_p99_ms": base * rng.uniform(5.5, 7.5),
            "time_to_first_token_p50_ms": base * 0.22,
            "time_to_first_token_p90_ms": base * rng.uniform(0.5, 0.6),
            "time_to_first_token_p99_ms": base * rng.uniform(1.2, 1.5),
        }


def _without_first_token(point: Json) -> Json:
    return {name: value for name, value in point.items() if not name.startswith("time_to_first_token")}
