"""Watches the event streams of botocore, which Bedrock answers with: the object stays, its generator is replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingest.tracking.streams import Chunks, watch_close

if TYPE_CHECKING:
    from ingest.tracking.call import Call


def is_event_stream(value: Any) -> bool:
    """Whether it is an event stream of botocore, as this module knows it."""
    kind = type(value)
    return kind.__module__ == "botocore.eventstream" and hasattr(kind, "_parse_event")


def watch_events(stream: Any, call: Call) -> None:
    """Watch an event stream from now on.

    The generator under it yields raw messages, by which its end is seen; what they say is seen where they are parsed.
    """
    parse = stream._parse_event  # noqa: SLF001 -- the one place where an event is whole and not yet the caller's

    def parse_and_see(message: Any) -> Any:
        try:
            event = parse(message)
        except BaseException as error:
            call.fail(error)
            raise
        call.see(event)
        return event

    stream._parse_event = parse_and_see  # noqa: SLF001 -- as above
    stream._event_generator = Chunks(stream._event_generator, call)  # noqa: SLF001 -- as above
    watch_close(stream, call)
