"""Messages that do not arrive, and what the links of messages do."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time

from ingest.documents.document import Document


class ChannelTrouble(Document):
    """A channel with messages that are overdue or dead."""

    channel_name: str
    overdue: int = 0
    dead: int = 0
    failing_since: datetime | None = None
    last_error: str | None = None


class DeliveryHealth(Document):
    """Document of `get_delivery_health`: overdue after five minutes, dead within the last day."""

    server_time: datetime
    overdue: int = 0
    dead: int = 0
    oldest_due_at: datetime | None = None
    channels: tuple[ChannelTrouble, ...] = ()
    silent_rules: tuple[str, ...] = ()

    def describe(self) -> str | None:
        """Say in one sentence what does not arrive; None where everything does."""
        if not self.overdue and not self.dead:
            return None
        counts = [f"{count} {what}" for count, what in ((self.overdue, "overdue"), (self.dead, "dead")) if count]
        names = ", ".join(
            f"{one.channel_name} ({one.last_error})" if one.last_error else one.channel_name for one in self.channels
        )
        return f"messages {' and '.join(counts)}: {names}"


class AlertLink(Document):
    """Document of `read_alert_link`: what the link of a message would do, or has done."""

    action: str
    rule_name: str
    alerts: int = 1
    firing: int = 0
    unacknowledged: int = 0
    group_by: str | None = None
    group_key: str | None = None
    severity: str = "warning"
    started_at: datetime | None = None
    expires_at: datetime | None = None
    is_expired: bool = False
    used_at: datetime | None = None
    used_by: str | None = None
