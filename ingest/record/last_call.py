"""The call that was recorded last, with its cost, before the database has it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from ingest.record.event import Event
    from ingest.record.recorder import Recorder


class RecordedCall:
    """One call of a model as it was recorded.

    Attributes:
        event_id: Its id; None while its tokens are still being counted.
    """

    __slots__ = ("_created_at", "_event", "_price", "_said", "event_id")

    def __init__(
        self,
        event_id: uuid.UUID | None = None,
        said: Mapping[str, Any] | None = None,
        created_at: object = None,
        price: Callable[[Event], None] | None = None,
    ) -> None:
        self.event_id = event_id
        self._said = said or {}
        self._created_at = created_at
        self._price = price
        self._event: Event | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """The arguments of `record_usage` that have a value; empty while tokens are being counted."""
        return {name: value for name, value in self._said.items() if value is not None}

    @property
    def is_counted(self) -> bool:
        """Whether its tokens are known: where a provider reported none, they are counted in the background."""
        return self.event_id is not None

    @property
    def model(self) -> str | None:
        """Model that answered."""
        return self._said.get("model")

    @property
    def prompt_tokens(self) -> int | None:
        """Input tokens."""
        return self._said.get("prompt_tokens")

    @property
    def completion_tokens(self) -> int | None:
        """Output tokens."""
        return self._said.get("completion_tokens")

    @property
    def cost(self) -> Decimal | None:
        """US dollars, exact, by the prices that this process knows; None where no price is known.

        The first one of a process may take half a second: it loads the catalogue of prices.
        """
        from decimal import Decimal

        cost = self._priced().get("estimated_cost")
        return None if cost is None else Decimal(str(cost))

    @property
    def cost_source(self) -> str | None:
        """Where the cost comes from: priced, provider, fallback or unpriced."""
        source = self._priced().get("cost_source")
        return None if source is None else str(source)

    def as_header(self) -> str:
        """Write it as the value of a response header: a dictionary of RFC 9651.

        For example `model="gpt-4o", prompt_tokens=150, completion_tokens=50, cost_usd="0.000875"`; what is not known is
        left out.
        """
        parts = []
        if self.model is not None:
            model = "".join(character for character in str(self.model) if " " <= character <= "~")
            parts.append('model="{}"'.format(model.replace("\\", "").replace('"', "")))
        for name in ("prompt_tokens", "completion_tokens"):
            value = self._said.get(name)
            if isinstance(value, int):
                parts.append(f"{name}={value}")
        cost = self.cost
        if cost is not None:
            parts.append(f'cost_usd="{cost.normalize():f}"')
        return ", ".join(parts)

    def become(self, other: RecordedCall) -> None:
        """Take over what has been counted meanwhile."""
        self._said, self._created_at, self._price = other._said, other._created_at, other._price
        self.event_id = other.event_id

    def _priced(self) -> Event:
        if self._event is None:
            if self.event_id is None or self._price is None:
                return {}
            from ingest.record.encoding import USAGE, decode, encode
            from ingest.record.event_id import identify

            _, kept = identify(dict(self._said), self.event_id, self._created_at)
            _, event = decode(encode(USAGE, kept))
            self._price(event)
            self._event = event
        return self._event


_Late = tuple["uuid.UUID", "dict[str, object]", object, "Recorder | None"]
_LAST: ContextVar[RecordedCall | _Late | None] = ContextVar("treering_last_call", default=None)


def last_call() -> RecordedCall | None:
    """Return the last call of a model that was recorded in this thread or task; None where there was none.

    A stream counts when it has ended. Tasks and threads started from here have a last call of their own.
    """
    last = _LAST.get()
    if not isinstance(last, tuple):
        return last
    event_id, said, created_at, recorder = last
    return remember(RecordedCall(event_id, said, created_at, recorder.price if recorder is not None else None))


def remember(call: RecordedCall) -> RecordedCall:
    """Make `call` the last one here."""
    _LAST.set(call)
    return call


def remember_later(event_id: uuid.UUID, said: dict[str, object], created_at: object, recorder: Recorder | None) -> None:
    """Make a call the last one here; its `RecordedCall` is made only where somebody asks."""
    _LAST.set((event_id, said, created_at, recorder))
