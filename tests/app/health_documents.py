"""What the app is told of the deployment: all is well, but for the faults that a test sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ingest.database.migrate import read_migrations
from ingest.errors import PermissionDeniedError
from tests.app.recording import recorded

Json = dict[str, Any]


@dataclass
class HealthAnswers:
    """Answers `get_deployment` and `get_status`."""

    access: str = "ops"
    faults: Json = field(default_factory=dict)

    def _get_deployment(self) -> Json:
        if self.access != "ops":
            raise PermissionDeniedError("this needs the access of ops or service", sqlstate="42501")
        now = datetime.now(UTC).isoformat()
        return {"server_time": now, "ops_members": 1, **self.faults}

    def _get_status(self) -> Json:
        now = datetime.now(UTC).isoformat()
        needed = [migration.version for migration in read_migrations()]
        leader = {"worker": "w", "seen_at": now, "is_leader": True, "details": {}}
        quiet = {"verification": None, "last_rejection": None, "oldest_pending_at": None}
        return {
            **recorded("get_status"),
            **quiet,
            "server_time": now,
            "refreshed_at": now,
            "workers": [leader],
            "migrations": needed,
        }
