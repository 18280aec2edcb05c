"""Finds streams that are neither read to the end nor closed: they are billed all the same.

A loop that is left (`break`, an exception) may be taken up again, so the call is recorded some seconds later, or when
the stream object is collected, or with the next flush, or at the end of the process, whichever comes first.
"""

from __future__ import annotations

import os
import time
import weakref
from typing import TYPE_CHECKING, Any

from ingest.tracking.background import every

if TYPE_CHECKING:
    from ingest.tracking.call import Call

PATIENCE_S = 5.0
SWEEP_INTERVAL_S = 1.0

_suspects: dict[int, tuple[float, Call]] = {}


def watch(owner: Any, call: Call) -> None:
    """Record `call` as cancelled when `owner` is collected, or at the end of the process, if it is still open."""
    weakref.finalize(owner, call.stop_by_caller)


def suspect(call: Call) -> None:
    """Note that a loop over the answer was left."""
    if call.is_finished:
        return
    call.is_left = True
    _suspects[id(call)] = (time.monotonic(), call)
    every(SWEEP_INTERVAL_S, _record_suspects)


def _record_suspects(is_hurried: bool) -> bool:
    """Record the calls whose loops were left and not taken up again in time; says whether others wait for theirs."""
    now = time.monotonic()
    patience_s = 0.0 if is_hurried else PATIENCE_S
    for key, (left_at, call) in list(_suspects.items()):
        if call.is_finished or not call.is_left:
            _suspects.pop(key, None)
        elif now - left_at >= patience_s:
            _suspects.pop(key, None)
            call.stop_by_caller()
    return bool(_suspects)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_suspects.clear)  # they are the parent's
