"""A receiver of e-mail on loopback that takes messages or refuses them, as the test wants."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller

from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import TracebackType


class MailServer:
    """Keeps the messages that it takes.

    Args:
        *answers: What it says to each message in turn, such as "451 try again"; the last one again and again.
        refused: Recipients that it refuses for now.
    """

    def __init__(self, *answers: str, refused: Collection[str] = ()) -> None:
        self.messages: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.refused = set(refused)
        self._answers = list(answers or ("250 OK",))
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    @property
    def url(self) -> str:
        """The address that apprise sends to."""
        return f"mailto://127.0.0.1:{self.port}?from=alerts@example.com&to=oncall@example.com&mode=insecure"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 -- aiosmtpd names it so
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer.startswith("250"):
            message = email.message_from_bytes(envelope.content, EmailMessage, policy=email.policy.default)
            assert isinstance(message, EmailMessage)
            self.messages.append(message)
            self.recipients.append(list(envelope.rcpt_tos))
        return answer

    async def handle_RCPT(  # noqa: N802 -- as above
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        if address in self.refused:
            return "450 mailbox busy"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    def __enter__(self) -> MailServer:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()
