"""Finds streams that are neither read to the end nor closed: they are billed all the same.

A loop that is left (`break`, an exception) may be taken up again, so the call is recorded some seconds later, or when
the stream object is collected, or with the next flush, or at the end of the process, whichever comes first.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.tracking.call import Call

PATIENCE_S = 5.0

_suspects: dict[int, tuple[float, Call]] = {}


def watch(owner: Any, call: Call) -> None:
    """Record `call` as cancelled when `owner` is collected, or at the end of the process, if it is still open."""
    weakref.finalize(owner, call.stop_by_caller)


def suspect(call: Call) -> None:
    """Note that a loop over the answer was left."""
    if call.is_finished:
        return
    from ingest.tracking.counting import wake

    call.is_left = True
    _suspects[id(call)] = (time.monotonic(), call)
    wake()


def record_suspects(patience_s: float = PATIENCE_S) -> bool:
    """Record the calls whose loops were left and not taken up again for `patience_s` seconds.

    Returns:
        Whether others wait for their time.
    """
    now = time.monotonic()
    for key, (left_at, call) in list(_suspects.items()):
        if call.is_finished or not call.is_left:
            _suspects.pop(key, None)
        elif now - left_at >= patience_s:
            _suspects.pop(key, None)
            call.stop_by_caller()
    return bool(_suspects)


def forget() -> None:
    """Leave all to the parent, in a forked child."""
    _suspects.clear()
