"""Every stream is recorded once and exactly, however it is read and wherever it is cut."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ingest
from ingest.tracking import counting
from tests.support.openai_server import USAGE, OpenAIServer, Reply, chunk, frames
from tests.unit.tracking.bodies import BODIES, Body
from tests.unit.tracking.conftest import ASK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.tracking.conftest import Recorded

ASK_RESPONSE: dict[str, Any] = {
    "model": "gpt-4o",
    "instructions": "You are a gardener.",
    "input": "How do I keep it alive?",
}
HIDDEN = b'"choices":[],"usage":{'
each_body = pytest.mark.parametrize("body", BODIES, ids=lambda body: body.name)


def check(recorded: Recorded, body: Body) -> None:
    event = recorded.event
    expected = dict(body.expected)
    flags = expected.pop("flags", [])
    assert {name: event.get(name) for name in expected} == expected
    metadata: Any = event.get("metadata", {})
    assert set(flags) <= set(metadata.get("treering_flags", []))
    assert "secret" not in str(event)
    assert event["latency_ms"] >= 0  # type: ignore[operator]


def open_stream(client: Any, body: Body) -> Any:
    if body.path == "responses":
        return client.responses.create(**ASK_RESPONSE, stream=True)
    return client.chat.completions.create(**ASK, stream=True)


@each_body
def test_a_stream_is_recorded_exactly(
    body: Body, client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.append(Reply(body.pieces))
    stream = open_stream(client, body)
    assert type(stream) is openai.Stream
    try:
        for _ in stream:
            pass
    except openai.APIError as error:
        assert type(error).__name__ == body.raises  # noqa: PT017
    check(recorded, body)


@each_body
def test_an_asynchronous_stream_is_recorded_exactly(body: Body, server: OpenAIServer, recorded: Recorded) -> None:
    async def read() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=server.url, max_retries=0) as client:
            stream = await open_stream(ingest.track(client), body)
            assert type(stream) is openai.AsyncStream
            try:
                async for _ in stream:
                    pass
            except openai.APIError as error:
                assert type(error).__name__ == body.raises  # noqa: PT017

    server.script.append(Reply(body.pieces))
    asyncio.run(read())
    check(recorded, body)


@each_body
def test_a_stream_read_as_lines_is_recorded_exactly(
    body: Body, client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.append(Reply(body.pieces))
    if body.path == "responses":
        opened = client.responses.with_streaming_response.create(**ASK_RESPONSE, stream=True)
    else:
        opened = client.chat.completions.with_streaming_response.create(**ASK, stream=True)
    with opened as response:
        assert type(response).__name__ == "APIResponse"
        for _ in response.iter_lines():
            pass
    check(recorded, body)


@each_body
def test_a_body_cut_anywhere_is_recorded_exactly(body: Body, recorded: Recorded) -> None:
    whole = b"".join(body.pieces)
    for size in (1, 7, len(whole)):
        recorded.database.usage.clear()
        pieces = (whole[at : at + size] for at in range(0, len(whole), size))
        passed = b"".join(ingest.stream_sse(pieces, operation=body.expected.get("operation", "chat")))
        assert passed == b"".join(piece for piece in body.pieces if HIDDEN not in piece)
        if body.expected["usage_source"] == "reported":
            check(recorded, body)


@each_body
def test_frames_pass_as_they_came_but_the_one_of_usage(
    body: Body, client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.append(Reply(body.pieces))
    stream = open_stream(client, body)
    passed = "".join(ingest.stream_sse(stream, user_id="user_1")).encode()
    kept = [piece.replace(b"\r\n", b"\n") for piece in body.pieces if HIDDEN not in piece]
    assert passed == b"".join(kept).replace(b',"usage":null', b"" if body.path == "chat" else b',"usage":null')
    check(recorded, body)
    assert recorded.event["user_id"] == "user_1"


TEXT = ("Water", " your", " living", " tree", ".")
WHOLE = frames([*(chunk(word) for word in TEXT), chunk(finish="stop"), chunk(choices=[], usage=USAGE)])


def expected_of_cut(count: int) -> tuple[str, str, int]:
    """Status, source and completion tokens after `count` chunks of WHOLE: each word is one token."""
    if count > len(TEXT) + 1:
        return "ok", "reported", 5
    return ("ok" if count > len(TEXT) else "cancelled"), "tokenizer", min(count, len(TEXT))


@pytest.mark.parametrize("way", ["close", "break", "collected", "raise", "with", "response"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(0, len(TEXT) + 1))
def test_a_stream_cut_at_any_chunk_is_recorded_once_with_what_was_delivered(
    way: str, count: int, client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    recorded.database.usage.clear()
    server.script.append(Reply(WHOLE))
    stream: Any = client.chat.completions.create(**ASK, stream=True)
    cut(stream, count, way)
    del stream
    if way in ("collected", "break"):
        gc.collect()
    event = recorded.event
    status, source, completion = expected_of_cut(count)
    assert (event["status"], event["usage_source"], event["completion_tokens"]) == (status, source, completion)
    assert event["prompt_tokens"] == (21 if source == "reported" else 23)
    gc.collect()
    assert len(recorded.events) == 1


def cut(stream: Any, count: int, way: str) -> None:
    def read() -> Iterator[Any]:
        for _ in range(count):
            yield next(stream)

    if way == "break":
        for number, _ in enumerate(stream if count else (), 1):
            if number >= count:
                break
        return
    if way == "raise":
        with pytest.raises(ValueError, match="mine"), stream:  # noqa: PT012 -- the loop is what is tested
            for _ in read():
                pass
            raise ValueError("mine")
        return
    if way == "with":
        with stream:
            list(read())
        return
    list(read())
    if way == "close":
        stream.close()
    elif way == "response":
        stream.response.close()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(0, len(TEXT) + 1))
def test_a_reader_of_frames_who_leaves_at_any_frame_is_recorded_once(
    count: int, client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    recorded.database.usage.clear()
    server.script.append(Reply(WHOLE))
    reader = ingest.stream_sse(client.chat.completions.create(**ASK, stream=True))
    for _ in range(count):
        next(reader)
    reader.close()
    del reader
    gc.collect()
    event = recorded.event
    assert event["status"] == ("ok" if count > len(TEXT) else "cancelled")
    assert event["completion_tokens"] == min(count, len(TEXT))


def test_a_task_that_is_cancelled_is_recorded_as_cancelled(server: OpenAIServer, recorded: Recorded) -> None:
    server.script.append(Reply(WHOLE[:2], ending="stall"))

    async def read() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=server.url, max_retries=0) as client:
            stream = await ingest.track(client).chat.completions.create(**ASK, stream=True)
            two_came = asyncio.Event()

            async def consume() -> None:
                count = 0
                async for _ in stream:
                    count += 1
                    if count == 2:
                        two_came.set()

            task = asyncio.create_task(consume())
            await two_came.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(read())
    event = recorded.event
    assert (event["status"], event["completion_tokens"], event["usage_source"]) == ("cancelled", 2, "tokenizer")


def test_a_connection_that_breaks_midway_is_an_error_with_what_was_delivered(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.append(Reply(WHOLE[:3], ending="cut"))
    with pytest.raises(openai.APIConnectionError):
        for _ in client.chat.completions.create(**ASK, stream=True):
            pass
    event = recorded.event
    assert (event["status"], event["error_type"]) == ("error", "APIConnectionError")
    assert (event["completion_tokens"], event["usage_source"]) == (3, "tokenizer")


def test_a_loop_that_was_left_may_be_taken_up_again(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.append(Reply(WHOLE))
    stream = client.chat.completions.create(**ASK, stream=True)
    for _ in stream:
        break
    assert len(list(stream)) == len(TEXT)
    assert recorded.event["status"] == "ok"
    assert recorded.event["completion_tokens"] == 5


def test_without_a_vocabulary_the_count_is_a_marked_estimate(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> counting.Encoding:
        raise OSError(name)

    monkeypatch.setattr(counting, "_vocabularies", counting.Vocabularies(fail))
    server.script.append(Reply(WHOLE[:2]))
    list(client.chat.completions.create(**ASK, stream=True))
    event = recorded.event
    assert event["usage_source"] == "heuristic"
    assert event["completion_tokens"] == 3  # ten letters


def test_a_stream_opened_elsewhere_is_recorded_and_passes_untouched(
    plain: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.append(Reply(WHOLE))
    stream = ingest.track_stream(plain.chat.completions.create(**ASK, stream=True), user_id="user_1", session_id="s")
    assert type(stream) is openai.Stream
    assert len(list(stream)) == len(WHOLE) - 1
    event = recorded.event
    assert (event["user_id"], event["session_id"], event["completion_tokens"]) == ("user_1", "s", 5)


def test_an_iterator_of_dictionaries_is_recorded(recorded: Recorded) -> None:
    chunks = [chunk("a"), chunk(finish="stop"), chunk(choices=[], usage=USAGE)]
    assert list(ingest.track_stream(iter(chunks), user_id="user_1")) == chunks
    assert recorded.event["completion_tokens"] == 5


def test_an_asynchronous_iterator_is_recorded(recorded: Recorded) -> None:
    chunks = [chunk("a"), chunk(finish="stop"), chunk(choices=[], usage=USAGE)]

    async def produce() -> Any:
        for item in chunks:
            yield item

    async def read() -> list[Any]:
        return [item async for item in ingest.track_stream(produce())]

    assert asyncio.run(read()) == chunks
    assert recorded.event["completion_tokens"] == 5


def test_a_tracked_stream_is_recorded_once_under_the_later_fields(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.append(Reply(WHOLE))
    stream = client.chat.completions.create(**ASK, stream=True)
    assert ingest.track_stream(stream, user_id="user_2") is stream
    list(stream)
    assert recorded.event["user_id"] == "user_2"


def test_chunks_become_frames(recorded: Recorded) -> None:
    chunks = [chunk("a"), chunk(finish="stop"), chunk(choices=[], usage=USAGE)]
    sent = list(ingest.stream_sse(iter(chunks)))
    assert "".join(sent).encode() == b"".join(frames([*chunks[:2]]))
    assert recorded.event["completion_tokens"] == 5


def test_an_unknown_field_is_refused(recorded: Recorded) -> None:
    for function in (ingest.track_stream, ingest.stream_sse):
        with pytest.raises(TypeError, match="usr_id"):
            function(iter([]), usr_id="user_1")
    with pytest.raises(TypeError, match="usr_id"):
        ingest.usage_context(usr_id="user_1")
    assert recorded.events == []
