"""What the database in memory answers about customers, users, tags and sessions, in every order and page."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

from tests.app.month_documents import bucket_for

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]

PLANS: Final = ("free", "pro", "enterprise")
_POINTS: Final = 8


def entity_rows(by: str, count: int, start: datetime, end: datetime, *, is_compared: bool) -> list[Json]:
    """Make rows of falling cost: the first is the dearest, one is of calls without a name, some have no price."""
    rng = random.Random(by)
    names = {
        "tenant_id": [f"customer_{number:03d}" for number in range(count)],
        "user_id": [f"user_{number:03d}" for number in range(count)],
        "session_id": [f"sess_{number:04d}" for number in range(count)],
    }.get(by, list(PLANS))
    return [
        _row(name, by, place, rng, start, end, is_compared=is_compared)
        for place, name in enumerate([*names[:3], "", *names[3:]] if by != "user_id" else names)
    ]


def _row(
    name: str, by: str, place: int, rng: random.Random, start: datetime, end: datetime, *, is_compared: bool
) -> Json:
    requests = max(2, int(4000 / (place + 1) ** 0.8))
    unpriced = requests if place == 5 else place % 3
    points = [Decimal(rng.randrange(1, 10**6)) / 10**7 * (requests - unpriced) for _ in range(_POINTS)]
    cost = None if unpriced == requests else sum(points, Decimal(0))
    is_session = by == "session_id"
    last = end - (end - start) * rng.random() / 3
    before = None if cost is None or not is_compared or is_session else cost * Decimal(rng.randrange(40, 180)) / 100
    return {
        "key": name,
        "requests": requests,
        "errors": requests // 50,
        "total_tokens": requests * 700,
        "cost": None if cost is None else str(cost),
        "fallback_cost": "0.0125" if place == 2 else "0",
        "fallback_requests": 1 if place == 2 else 0,
        "unpriced_requests": unpriced,
        "previous_cost": None if before is None else str(before),
        "active_days": None if is_session else rng.randrange(1, 8),
        "first_seen_at": (last - timedelta(minutes=rng.randrange(1, 90))).isoformat() if is_session else None,
        "last_seen_at": last.isoformat(),
        "sessions": None if is_session else max(1, requests // 9),
        "session_cost": None if is_session else str(cost or 0),
        "user_id": f"user_{place:03d}" if is_session else None,
        "tenant_id": f"customer_{place % 9:03d}" if is_session else None,
        "points": [None if cost is None else str(point) for point in points],
    }


_FIGURES: Final[dict[str, Callable[[Json], Any]]] = {
    "cost": lambda row: None if row["cost"] is None else Decimal(row["cost"]),
    "requests": lambda row: row["requests"],
    "last_seen": lambda row: row["last_seen_at"],
    "cost_per_day": lambda row: None if row["cost"] is None else Decimal(row["cost"]) / row["active_days"],
    "change": lambda row: (
        None if None in (row["cost"], row["previous_cost"]) else Decimal(row["cost"]) - Decimal(row["previous_cost"])
    ),
}


def in_order(rows: list[Json], filters: Json) -> list[Json]:
    """Return rows as they are asked for, those of an unknown figure last."""
    is_down = filters.get("direction", "desc") == "desc"
    if filters.get("order") == "name":
        return sorted(rows, key=lambda row: row["key"], reverse=is_down)
    figure = _FIGURES.get(filters.get("order", "cost"), _FIGURES["cost"])
    known = sorted((row for row in rows if figure(row) is not None), key=figure, reverse=is_down)
    return [*known, *(row for row in rows if figure(row) is None)]


@dataclass
class EntityAnswers:
    """Answers `get_entities`; `customers` is how many there are, and none lets the calls have no tenants and tags."""

    customers: int = 0

    def _get_entities(self, from_time: str, to_time: str, filters: Json) -> Json:
        common: tuple[Json, list[Json], random.Random] = cast("Any", self)._common(from_time, to_time, filters)
        document, cells = common[:2]
        start, end = datetime.fromisoformat(from_time), datetime.fromisoformat(to_time)
        by, compare = filters["group_by"], filters.get("compare", "before")
        only = filters.get(by) or (filters.get("tags") or {}).get(by.removeprefix("tags."))
        rows = entity_rows(by, self.customers or 6, start, end, is_compared=compare != "none") if cells else []
        if by == "tenant_id" and not self.customers:
            rows = [row for row in rows if not row["key"]]
        found = [
            row for row in rows if filters.get("search", "").lower() in row["key"] and (not only or row["key"] in only)
        ]
        costs = [Decimal(row["cost"]) for row in found if row["cost"] is not None]
        first, count = int(filters.get("offset", "0")), int(filters.get("limit", "50"))
        shown = [dict(row) for row in in_order(found, filters)[first : first + count]]
        document["bucket"] = {"minute": "hour", "5 minutes": "hour", "15 minutes": "hour", "hour": "day"}.get(
            bucket_for(end - start), "week"
        )
        document["totals"]["cost"] = str(sum((Decimal(row["cost"] or 0) for row in rows), Decimal(0))) if rows else "0"
        document["options"] |= {"tenants": [], "tags": {}}
        if self.customers:
            document["options"] |= {
                "tenants": [f"customer_{number:03d}" for number in range(self.customers)],
                "tags": {"plan": list(PLANS)},
            }
        del document["totals"]["users"], document["previous"]["users"]
        for name in ("latency_ms", "time_to_first_token_ms"):
            del document["totals"][name], document["previous"][name]
        return document | {
            "group_by": by,
            "previous_to": from_time,
            "points_from": [from_time],
            "matched": {
                "rows": len(found),
                "requests": sum(row["requests"] for row in found),
                "uncertain_requests": sum(row["fallback_requests"] + row["unpriced_requests"] for row in found),
                "cost": str(sum(costs, Decimal(0))) if costs or not found else None,
            },
            "rows": shown,
        }
