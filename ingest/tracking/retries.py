"""Sees each attempt of an openai client that tries again, whatever its version."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.tracking.call import Call

CURRENT: ContextVar[Call | None] = ContextVar("treering_call", default=None)


def hooks_of_retries(client: Any, *, is_async: bool) -> dict[str, Any]:
    """Return what stands in for the methods of `client` that lead from one attempt to the next, by name.

    Nothing else tells one attempt from the next, so these are private ones.
    """
    if hasattr(client, "_sleep_for_retry"):
        return {"_sleep_for_retry": _watch_pause(client._sleep_for_retry, is_async=is_async)}  # noqa: SLF001
    retry, build = client._retry_request, client._build_request  # noqa: SLF001 -- before openai 1.66

    def retry_noted(*arguments: Any, **options: Any) -> Any:
        _note_retry()
        return retry(*arguments, **options)

    def build_noted(*arguments: Any, **options: Any) -> Any:
        call = CURRENT.get()
        if call is not None and call.is_waiting:
            call.begin_attempt()
        return build(*arguments, **options)

    return {"_retry_request": retry_noted, "_build_request": build_noted}


def _watch_pause(sleep: Any, *, is_async: bool) -> Any:
    async def sleep_async(**arguments: Any) -> None:
        call = _note_retry()
        await sleep(**arguments)
        if call is not None:
            call.begin_attempt()

    def sleep_sync(**arguments: Any) -> None:
        call = _note_retry()
        sleep(**arguments)
        if call is not None:
            call.begin_attempt()

    return sleep_async if is_async else sleep_sync


def _note_retry() -> Call | None:
    call = CURRENT.get()
    error = sys.exc_info()[1]
    if call is None or error is None:
        return None
    call.record_lost_attempt(error)
    return call
