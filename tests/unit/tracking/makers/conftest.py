"""A server that answers as the makers do, and what each test asks it."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.maker_server import MakerServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@pytest.fixture
def makers() -> Iterator[MakerServer]:
    with MakerServer() as server:
        yield server


def check(event: Mapping[str, Any], **expected: Any) -> None:
    """Compare the fields of an event that are named."""
    assert {name: event.get(name) for name in expected} == expected
    assert event["latency_ms"] >= 0
    assert "secret" not in str(event)


def leave(stream: Any, way: str, closing: Any = None) -> None:
    """Read one item of a stream and go, in one of the ways in which products do."""
    if way == "break":
        for _ in stream:
            break
    elif way == "exception":
        with pytest.raises(ValueError, match="mine"):  # noqa: PT012 -- the loop is what is tested
            for _ in stream:
                raise ValueError("mine")
    elif way == "close":
        next(iter(stream))
        (closing or stream).close()
    elif way == "collected":
        iterator = iter(stream)
        next(iterator)
        del iterator
    del stream
    gc.collect()


LEAVING = ("break", "exception", "close", "collected")
each_way_of_leaving = pytest.mark.parametrize("way", LEAVING)
