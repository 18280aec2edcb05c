"""What a product knows about its current request, applied to the model calls made within it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ingest.record.fields import ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Token

_EMPTY: dict[str, Any] = {}
_CURRENT: ContextVar[Mapping[str, Any]] = ContextVar("treering_usage", default=_EMPTY)


class usage_context:  # noqa: N801 -- it is called as a function is
    """Give the model calls made within it their user, session, feature and so on.

    Each thread and each task has its own; an inner one adds to the outer one and wins over it, `metadata` entry by
    entry. A stream keeps what was set when it was opened.

    Args:
        **fields: Arguments of `record_usage`.

    Raises:
        TypeError: A field is not an argument of `record_usage`.
    """

    def __init__(self, **fields: Any) -> None:
        check_fields(fields)
        self._fields = fields
        self._tokens: list[Token[Mapping[str, Any]]] = []

    def __enter__(self) -> usage_context:
        self._tokens.append(_CURRENT.set(merge(_CURRENT.get(), self._fields)))
        return self

    def __exit__(self, *_: object) -> None:
        token = self._tokens.pop()
        try:
            _CURRENT.reset(token)
        except ValueError:
            # A generator that is closed by another task leaves in a context which never had these fields.
            return


def current_fields() -> Mapping[str, Any]:
    """Return the fields of the current context."""
    return _CURRENT.get()


def merge(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    """Join two sets of fields; the inner ones win."""
    merged = {**outer, **inner}
    before, after = outer.get("metadata"), inner.get("metadata")
    if isinstance(before, dict) and isinstance(after, dict):
        merged["metadata"] = {**before, **after}
    return merged


def check_fields(fields: Mapping[str, Any]) -> None:
    """Refuse fields that `record_usage` does not accept."""
    unknown = sorted(fields.keys() - ARGUMENTS)
    if unknown:
        raise TypeError(f"record_usage has no argument {', '.join(unknown)}")
