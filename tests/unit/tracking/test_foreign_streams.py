"""Streams that other code opened, whoever made them: recorded as what they are, and never the reader's trouble."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import anthropic
import boto3
import pytest
from botocore.eventstream import EventStream
from google import genai
from google.genai import types

import ingest
from ingest.tracking import background
from tests.support.maker_server import (
    BEDROCK,
    CLAUDE,
    MakerServer,
    converse_events,
    generation_chunks,
    message_events,
)
from tests.support.openai_server import USAGE, chunk, events, frames
from tests.unit.tracking.makers.conftest import check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.unit.tracking.conftest import Recorded

ASK: dict[str, Any] = {"model": "claude-opus-4-8", "max_tokens": 9, "messages": [{"role": "user", "content": "a"}]}
TEXT = "Water your living tree."
MESSAGE = {"provider": "anthropic", "model": CLAUDE, "prompt_tokens": 129, "completion_tokens": 5, "status": "ok",
           "user_id": "user_1", "usage_source": "reported", "streamed": True}  # fmt: skip
CHUNKS = [chunk("a"), chunk(finish="stop"), chunk(choices=[], usage=USAGE)]


@pytest.fixture
def makers() -> Iterator[MakerServer]:
    with MakerServer() as server:
        yield server


@pytest.fixture
def plain(makers: MakerServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="k", base_url=makers.root, max_retries=0) as client:
        yield client


def test_anthropics_streams_and_helpers_are_returned_as_themselves(
    plain: anthropic.Anthropic, recorded: Recorded
) -> None:
    stream = plain.messages.create(**ASK, stream=True)
    assert ingest.track_stream(stream, user_id="user_1") is stream
    assert len(list(stream)) == len(message_events()) - 1
    with plain.messages.stream(**ASK) as helper:
        assert ingest.track_stream(helper, user_id="user_1") is helper
        assert helper.get_final_text() == TEXT
    with plain.messages.stream(**ASK) as helper:
        texts = helper.text_stream
        assert ingest.track_stream(texts, user_id="user_1") is texts
        assert "".join(texts) == TEXT
    assert len(recorded.events) == 3
    for event in recorded.events:
        check(event, **MESSAGE)


def test_a_tracked_clients_helper_is_recorded_once_under_the_later_fields(
    plain: anthropic.Anthropic, recorded: Recorded
) -> None:
    client = ingest.track(plain)
    with client.messages.stream(**ASK) as helper:
        assert "".join(ingest.track_stream(helper.text_stream, user_id="user_1")) == TEXT
    with client.messages.stream(**ASK) as helper:
        assert "".join(helper.text_stream) == TEXT
    assert [event["user_id"] for event in recorded.events] == ["user_1", "anonymous"]


def test_anthropics_frames_pass_byte_for_byte(plain: anthropic.Anthropic, recorded: Recorded) -> None:
    sent = "".join(ingest.stream_sse(plain.messages.create(**ASK, stream=True), user_id="user_1"))
    assert sent.encode() == b"".join(events(message_events()))
    with plain.messages.stream(**ASK) as helper:
        assert "".join(ingest.stream_sse(helper, user_id="user_1")).encode() == b"".join(events(message_events()))
    assert len(recorded.events) == 2
    for event in recorded.events:
        check(event, **MESSAGE)


def test_each_text_becomes_a_frame(makers: MakerServer, plain: anthropic.Anthropic, recorded: Recorded) -> None:
    async def read() -> list[str]:
        async with (
            anthropic.AsyncAnthropic(api_key="k", base_url=makers.root) as client,
            client.messages.stream(**ASK) as helper,
        ):
            return [frame async for frame in ingest.stream_sse(helper.text_stream, user_id="user_1")]

    with plain.messages.stream(**ASK) as helper:
        sent = list(ingest.stream_sse(helper.text_stream, user_id="user_1"))
    assert sent[0] == 'data: "Water"\n\n'
    assert asyncio.run(read()) == sent
    assert len(recorded.events) == 2
    for event in recorded.events:
        check(event, **MESSAGE)


def test_bedrocks_streams_are_returned_as_themselves(makers: MakerServer, recorded: Recorded) -> None:
    client = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=makers.root,
                          aws_access_key_id="a", aws_secret_access_key="b")  # fmt: skip
    ask: dict[str, Any] = {"modelId": BEDROCK, "messages": [{"role": "user", "content": [{"text": "a"}]}]}
    stream = client.converse_stream(**ask)["stream"]
    tracked = ingest.track_stream(stream, user_id="user_1", model=BEDROCK)
    assert tracked is stream
    assert type(tracked) is EventStream
    assert len(list(tracked)) == len(converse_events())
    sent = "".join(ingest.stream_sse(client.converse_stream(**ask)["stream"], user_id="user_1", model=BEDROCK))
    assert sent.count("data: ") == len(converse_events())
    client.close()
    assert len(recorded.events) == 2
    for event in recorded.events:
        check(event, provider="aws", prompt_tokens=129, completion_tokens=5, status="ok", user_id="user_1")


def test_googles_streams_are_recorded(makers: MakerServer, recorded: Recorded) -> None:
    client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=makers.root))
    stream = client.models.generate_content_stream(model="gemini-2.5-flash", contents="a")
    assert len(list(ingest.track_stream(stream, user_id="user_1"))) == len(generation_chunks())
    client.close()
    check(recorded.event, provider="google", prompt_tokens=21, completion_tokens=12, status="ok", user_id="user_1")


class Either:
    """A stream that is read with `for` or with `async for`, as LiteLLM's is."""

    custom_llm_provider = "bedrock"
    model = "claude"

    def __init__(self, chunks: list[Any]) -> None:
        self._chunks = iter(chunks)
        self.is_closed = False

    def __iter__(self) -> Either:
        return self

    def __aiter__(self) -> Either:
        return self

    def __next__(self) -> Any:
        return next(self._chunks)

    async def __anext__(self) -> Any:
        try:
            return next(self._chunks)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self.is_closed = True


def read_with_for(stream: Any) -> list[Any]:
    return list(stream)


def read_with_async_for(stream: Any) -> list[Any]:
    async def read() -> list[Any]:
        return [item async for item in stream]

    return asyncio.run(read())


@pytest.mark.parametrize("read", [read_with_for, read_with_async_for])
def test_a_stream_that_is_both_may_be_read_either_way(read: Any, recorded: Recorded) -> None:
    tracked = ingest.track_stream(Either(CHUNKS), user_id="user_1")
    assert tracked.custom_llm_provider == "bedrock"
    assert read(tracked) == CHUNKS
    assert read(ingest.stream_sse(Either(CHUNKS), user_id="user_1"))[-1] == "data: [DONE]\n\n"
    assert len(recorded.events) == 2
    for event in recorded.events:
        check(event, provider="aws", prompt_tokens=21, completion_tokens=5, status="ok", user_id="user_1")


def test_a_loop_over_a_stream_that_nobody_else_holds_is_whole(recorded: Recorded) -> None:
    async def read() -> None:
        async for _ in ingest.track_stream(Either(CHUNKS)):
            pass
        async for _ in ingest.stream_sse(Either(CHUNKS)):
            pass

    for _ in ingest.track_stream(Either(CHUNKS)):
        pass
    for _ in ingest.stream_sse(Either(CHUNKS)):
        pass
    asyncio.run(read())
    assert len(recorded.events) == 4
    for event in recorded.events:
        check(event, prompt_tokens=21, completion_tokens=5, status="ok")


def test_a_stream_that_is_both_and_left_is_cancelled(recorded: Recorded) -> None:
    inner = Either(CHUNKS)
    tracked = ingest.track_stream(inner)
    next(tracked)
    asyncio.run(tracked.aclose())
    unread = ingest.track_stream(Either(CHUNKS))
    del unread
    assert inner.is_closed
    assert [event["status"] for event in recorded.events] == ["cancelled", "cancelled"]


async def produce(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


UNKNOWN: list[tuple[str, list[Any]]] = [
    ("objects", [object(), object()]),
    ("dictionaries", [{"a": 1}, {"b": 2}]),
    ("numbers", [1, 2]),
    ("nothing", []),
    ("embedded bytes", [b"\x00\x01", b"\xff"]),
]


@pytest.mark.parametrize("items", [row[1] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN])
def test_an_unknown_stream_is_recorded_as_unknown_and_passes_untouched(items: list[Any], recorded: Recorded) -> None:
    assert list(ingest.track_stream(iter(items), model="gpt-4o", provider="openai")) == items
    assert read_with_async_for(ingest.track_stream(produce(items))) == items
    assert len(recorded.events) == 2
    for event in recorded.events:
        check(event, status="ok", error_type=None, estimated_cost=None, usage_source="heuristic")
        assert "stream:unknown" in event["metadata"]["treering_flags"]  # type: ignore[call-overload, index, operator]
    assert [event["provider"] for event in recorded.events] == ["openai", "unknown"]


def test_bare_text_is_recorded_with_an_estimate(recorded: Recorded) -> None:
    texts = ["Water", " your living\n\ntree", "."]
    assert list(ingest.track_stream(iter(texts), model="llama", provider="ollama")) == texts
    assert "".join(ingest.stream_sse(iter(texts))) == "".join(texts)
    tracked = recorded.events[0]
    check(tracked, status="ok", completion_tokens=6, usage_source="heuristic", model="llama")
    assert tracked["time_to_first_token_ms"] >= 0  # type: ignore[operator]


def test_text_of_server_sent_events_is_read_as_such(recorded: Recorded) -> None:
    body = b"".join(frames(CHUNKS)).decode()
    pieces = [body[at : at + 3] for at in range(0, len(body), 3)]
    assert list(ingest.track_stream(iter(pieces))) == pieces
    check(recorded.event, provider="openai", prompt_tokens=21, completion_tokens=5, usage_source="reported")


def test_what_cannot_be_written_as_json_is_sent_all_the_same(recorded: Recorded) -> None:
    sent = list(ingest.stream_sse(iter([{"a": object()}, {"b": b"c"}, object()])))
    assert [json.loads(frame.removeprefix("data: ")) for frame in sent] == [
        {"a": "<object>"},
        {"b": "Yw=="},
        "<object>",
    ]
    assert recorded.event["status"] == "ok"


def test_what_is_no_stream_comes_back_as_it_was(recorded: Recorded) -> None:
    thing = object()
    assert ingest.track_stream(thing) is thing
    assert recorded.events == []


class Hostile:
    """A chunk of which nothing can be asked."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.usefixtures("recorded")
def test_no_fault_of_ours_reaches_the_readers_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [Hostile(), Hostile()]
    assert len(list(ingest.track_stream(iter(items)))) == 2
    monkeypatch.setattr("ingest.tracking.opened.UnknownAnswer.add_chunk", None)
    monkeypatch.setattr("ingest.tracking.opened.UnknownAnswer.is_unknown", property(lambda _: 1 / 0))
    assert list(ingest.track_stream(iter(CHUNKS))) == CHUNKS
    monkeypatch.setattr("ingest.tracking.opened._open", None)
    assert list(ingest.track_stream(iter(CHUNKS))) == CHUNKS
    monkeypatch.setattr("ingest.tracking.sse.call_for", None)
    assert list(ingest.track_stream(iter(CHUNKS))) == CHUNKS
    background.settle(5)
