"""A statement of two lines, and an export, as the database answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import JsonValue

NOON = "2026-05-04T12:00:00+00:00"


def sums(**fields: Any) -> dict[str, Any]:
    """Ten certain calls for 0.25 $."""
    return {
        "requests": 10, "prompt_tokens": 1500, "cached_tokens": 0, "completion_tokens": 500, "certain_requests": 10,
        "cost": "0.25", "provider_reported_cost": "0", "fees": "0", "fallback_requests": 0, "fallback_cost": "0",
        "unpriced_requests": 0, "estimated_requests": 0, "demo_requests": 0, **fields,
    }  # fmt: skip


@dataclass
class StatementAnswers:
    """Answers what the statement on Costs and the list of exports in Settings ask for."""

    exports: list[dict[str, Any]] = field(default_factory=list)
    statement_schedule: dict[str, Any] = field(
        default_factory=lambda: {
            "is_enabled": False,
            "formats": ["xlsx"],
            "dimensions": ["feature", "model"],
            "timezone": "UTC",
            "grace_days": 5,
            "to_folder": True,
            "channels": [],
            "first_month": None,
            "updated_at": NOON,
            "updated_by": None,
            "deliveries": [],
        }
    )

    def _get_statement(self, **arguments: Any) -> JsonValue:
        keys = {name: "gpt-4o" if name == "model" else "chat" for name in arguments["dimensions"]}
        unpriced = sums(certain_requests=0, cost=None, unpriced_requests=10)
        return {
            "access": "ops",
            "from_time": arguments["from_time"],
            "to_time": arguments["to_time"],
            "timezone": arguments["filters"]["timezone"],
            "generated_at": datetime.now(UTC).isoformat(),
            "totals": sums(requests=20, unpriced_requests=10),
            "providers": [],
            "row_count": 2,
            "rows": [one | {"keys": [*keys.values()], "user_id": None} for one in (sums(), unpriced)],
        }

    def _get_statement_schedule(self) -> JsonValue:
        return self.statement_schedule

    def _save_statement_schedule(self, schedule: Any) -> JsonValue:
        self.statement_schedule |= schedule
        return self.statement_schedule

    def _log_export(self, **arguments: Any) -> JsonValue:
        at = datetime.now(UTC).isoformat()
        self.exports.insert(0, {**arguments["export"], "export_id": 1, "exported_at": at, "exported_by": "local-ops"})
        return 1

    def _get_exports(self, **_: Any) -> JsonValue:
        return [*self.exports]
