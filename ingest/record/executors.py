"""Carries what `usage_context` and `set_usage` say into the threads of executors, which start without a context."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ingest.record.context import carried

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

_MARK = "_treering"


def carry_into_executors() -> None:
    """Have every `ThreadPoolExecutor` of this process run its work with the fields of whoever submits it.

    `loop.run_in_executor` included. Nothing but these fields is carried. Safe to repeat.
    """
    executor: Any = ThreadPoolExecutor
    submit = executor.submit
    if hasattr(submit, _MARK):
        return

    @functools.wraps(submit)
    def submit_with_fields(
        self: ThreadPoolExecutor, work: Callable[..., Any], /, *arguments: Any, **options: Any
    ) -> Future[Any]:
        future: Future[Any] = submit(self, carried(work), *arguments, **options)
        return future

    setattr(submit_with_fields, _MARK, True)
    executor.submit = submit_with_fields
