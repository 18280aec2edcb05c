"""What an error of a client library says of its call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.tracking.answer import error_kind
from ingest.tracking.emit import report

if TYPE_CHECKING:
    from ingest.tracking.answer import Answer

# As httpx, urllib3 through botocore, and aiohttp name it.
_BROKEN_OFF = frozenset(
    {"ReadTimeout", "ReadError", "RemoteProtocolError", "ReadTimeoutError", "ResponseStreamingError"}
    | {"ConnectionClosedError", "SocketTimeoutError", "ServerDisconnectedError", "ClientPayloadError"}
)


def name_of(error: BaseException, answer: Answer) -> str:
    """The kind of an error: what the maker of the API calls it, else its class. Never raises."""
    try:
        return answer.name_error(error) or _name_of(error)
    except Exception as fault:  # noqa: BLE001 -- a fault of ours is not the caller's
        report(fault)
        return type(error).__name__


def _name_of(error: BaseException) -> str:
    code = getattr(error, "code", None)
    if isinstance(code, str) and not code.isdecimal() and (kind := error_kind({"code": code})) is not None:
        return kind  # RateLimitError is both a limit that passes and a quota that is used up
    body = getattr(error, "body", None)
    if type(error).__name__ == "APIError" and body is not None:
        return error_kind(body) or "APIError"
    return type(error).__name__


def reached_a_model(error: BaseException) -> bool:
    """Whether the request was on its way when the connection ended: then the provider has answered, and billed."""
    names = {type(cause).__name__ for cause in (error, error.__cause__) if cause is not None}
    return not names.isdisjoint(_BROKEN_OFF)
