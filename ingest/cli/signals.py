"""Turns the signals that ask a program to stop into an event."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType


@contextlib.contextmanager
def stop_on_signals(stop: threading.Event) -> Generator[None]:
    """Within the block the first SIGTERM or SIGINT sets `stop`; a second one acts as it usually does."""
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        restore()
        # The interrupted code may hold the event's own lock, so setting it right here could wait forever.
        threading.Thread(target=stop.set, name="treering-stop").start()

    for number in previous:
        signal.signal(number, ask_to_stop)
    try:
        yield
    finally:
        restore()
