"""Services whose own fields carry what an alert is: its severity, its end, the key that ties both together.

Apprise reads their addresses (`slack://…`), each `write_…` here turns a message into the requests that the service's
documentation asks for. A service that is not in `SERVICES`, or an address of it that a writer does not know (it returns
None), is sent to by apprise itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.alerts.services.call import Call
from ingest.alerts.services.chats import write_discord, write_slack, write_teams
from ingest.alerts.services.incidents import write_opsgenie, write_pagerduty, write_splunk
from ingest.alerts.services.pushes import write_ntfy, write_telegram

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ingest.alerts.messages import Message

# By the name of the class with which apprise reads the address.
SERVICES: Final[dict[str, Callable[[Any, Message], Sequence[Call] | None]]] = {
    "NotifyDiscord": write_discord,
    "NotifyNtfy": write_ntfy,
    "NotifyOpsgenie": write_opsgenie,
    "NotifyPagerDuty": write_pagerduty,
    "NotifySlack": write_slack,
    "NotifySplunk": write_splunk,
    "NotifyTelegram": write_telegram,
    "NotifyWorkflows": write_teams,
}

__all__ = ["SERVICES", "Call"]
