"""Every call of the openai client leaves one row with the right tokens or units, and a cost or none that is known.

Runs with other versions of the library too (`python -m tests.tools.openai_versions`).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ingest
from tests.support.openai_server import OpenAIServer, Reply, chunk, document, events, frames
from tests.unit.tracking.conftest import ASK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.tracking.conftest import Recorded

AUDIO = ("talk.wav", b"RIFF....WAVE", "audio/wav")
PICTURE = ("leaf.png", b"\x89PNG", "image/png")
TOKENS = {"type": "tokens", "input_tokens": 640, "input_token_details": {"text_tokens": 40, "audio_tokens": 600},
          "output_tokens": 120, "total_tokens": 760}  # fmt: skip
DRAWN = {"input_tokens": 100, "input_tokens_details": {"text_tokens": 60, "image_tokens": 40}, "output_tokens": 400,
         "total_tokens": 500}  # fmt: skip
IMAGES = {"created": 1764000000, "data": [{"b64_json": "AA=="}], "usage": DRAWN}
SOUND = Reply((b"\xff\xfb\x90",), content_type="audio/mpeg")


@dataclass(frozen=True)
class Kind:
    """A kind of call.

    Attributes:
        name: Of the test.
        reply: What the server says.
        ask: Makes the call; returns something to read where it is a stream.
        expected: Fields of the event.
        units: What else is billed.
        cost: US dollars, worked out by hand; None where nobody can know.
        flags: Findings.
        since: Version of the library that has it.
    """

    name: str
    reply: Reply
    ask: Callable[[Any], Any]
    expected: dict[str, Any]
    cost: str | None
    units: dict[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    since: tuple[int, ...] = (1, 60)


def _frames(*chunks: dict[str, Any]) -> Reply:
    return Reply(events(chunks))


def _transcribe(model: str, **more: Any) -> Callable[[Any], Any]:
    return lambda client: client.audio.transcriptions.create(model=model, file=AUDIO, **more)


INSTRUCT = "gpt-3.5-turbo-instruct"


def _text(**fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "text": "Water.", "finish_reason": "stop", "logprobs": None}
    return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": INSTRUCT, "choices": [choice], **fields}


USED = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
# 100 at 1.50 and 10 at 2.00 per million
INSTRUCT_COST = "0.00017"
# 60 text at 5, 40 image at 10, 400 out at 40 per million
DRAWN_COST = "0.0167"
# 40 text at 2.50, 600 audio at 6.00, 120 out at 10 per million
HEARD_COST = "0.0049"

KINDS = [
    Kind("a legacy completion", document(_text(usage=USED)),
         lambda client: client.completions.create(model=INSTRUCT, prompt="How?"),
         {"operation": "completions", "prompt_tokens": 100, "completion_tokens": 10, "finish_reason": "stop"},
         INSTRUCT_COST),
    Kind("a streamed legacy completion", Reply(frames([_text(usage=None), _text(choices=[], usage=USED)])),
         lambda client: client.completions.create(model=INSTRUCT, prompt="How?", stream=True),
         {"operation": "completions", "prompt_tokens": 100, "completion_tokens": 10, "streamed": True}, INSTRUCT_COST),
    Kind("a legacy completion without usage", document(_text(model="gpt-4o-mini")),
         lambda client: client.completions.create(model="gpt-4o-mini", prompt="How do I keep it alive?"),
         {"prompt_tokens": 7, "completion_tokens": 2, "usage_source": "tokenizer"}, "0.00000225"),  # 0.15, 0.60
    Kind("a transcription by the second",
         document({"text": "Water.", "usage": {"type": "duration", "seconds": 90}}), _transcribe("whisper-1"),
         {"operation": "audio.transcription", "model": "whisper-1", "prompt_tokens": 0, "usage_source": "reported"},
         "0.009", {"audio_seconds": 90}),  # 0.006 a minute
    Kind("a verbose transcription of an older server",
         document({"task": "transcribe", "language": "english", "duration": 90.0, "text": "Water.", "segments": []}),
         _transcribe("whisper-1", response_format="verbose_json"), {"usage_source": "reported"}, "0.009",
         {"audio_seconds": 90}),
    Kind("a transcription by the token", document({"text": "Water.", "usage": TOKENS}),
         _transcribe("gpt-4o-transcribe"),
         {"operation": "audio.transcription", "prompt_tokens": 640, "audio_input_tokens": 600,
          "completion_tokens": 120}, HEARD_COST),
    Kind("a streamed transcription",
         _frames({"type": "transcript.text.delta", "delta": "Water."},
                 {"type": "transcript.text.done", "text": "Water.", "usage": TOKENS}),
         _transcribe("gpt-4o-transcribe", stream=True),
         {"streamed": True, "prompt_tokens": 640, "completion_tokens": 120, "status": "ok"}, HEARD_COST,
         since=(1, 109)),
    Kind("a transcription as text, which tells nothing", Reply((b"Water.\n",), content_type="text/plain"),
         _transcribe("whisper-1", response_format="text"), {"prompt_tokens": 0, "usage_source": "heuristic"}, None,
         flags=("usage:not_reported",)),
    Kind("a translation",
         document({"text": "Water.", "duration": 60.0, "language": "english", "task": "translate", "segments": []}),
         lambda client: client.audio.translations.create(
             model="whisper-1", file=AUDIO, response_format="verbose_json"),
         {"operation": "audio.translation"}, "0.006", {"audio_seconds": 60}),
    Kind("speech by the character", SOUND,
         lambda client: client.audio.speech.create(model="tts-1", voice="alloy", input="Water your tree."),
         {"operation": "audio.speech", "model": "tts-1", "usage_source": "tokenizer"}, "0.00024",
         {"characters": 16}),  # 15 a million
    Kind("speech by the token, of which the answer tells nothing", SOUND,
         lambda client: client.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input="Water your tree."),
         {"operation": "audio.speech"}, None, {"characters": 16}),
    Kind("pictures", document(IMAGES), lambda client: client.images.generate(model="gpt-image-1", prompt="A leaf"),
         {"operation": "images.generate", "model": "gpt-image-1", "prompt_tokens": 100, "completion_tokens": 400},
         DRAWN_COST),
    Kind("pictures as they come",
         _frames({"type": "image_generation.partial_image", "b64_json": "AA==", "partial_image_index": 0},
                 {"type": "image_generation.completed", "b64_json": "AA==", "usage": DRAWN}),
         lambda client: client.images.generate(model="gpt-image-1", prompt="A leaf", stream=True, partial_images=1),
         {"operation": "images.generate", "streamed": True, "completion_tokens": 400, "status": "ok"}, DRAWN_COST,
         since=(1, 109)),
    Kind("an edited picture", document(IMAGES),
         lambda client: client.images.edit(model="gpt-image-1", image=PICTURE, prompt="greener"),
         {"operation": "images.edit", "completion_tokens": 400}, DRAWN_COST),
    Kind("a variation, whose price nobody tells any more", document({"created": 1, "data": [{"url": "u"}] * 2}),
         lambda client: client.images.create_variation(model="dall-e-2", image=PICTURE, n=2, size="512x512"),
         {"operation": "images.variation", "model": "dall-e-2"}, None, {"images:standard:512x512": 2}),
    Kind("a moderation, which is free", document({"id": "modr-1", "model": "omni-moderation-latest", "results": []}),
         lambda client: client.moderations.create(model="omni-moderation-latest", input="How do I keep it alive?"),
         {"operation": "moderations", "prompt_tokens": 7, "completion_tokens": 0, "usage_source": "tokenizer"}, "0"),
    Kind("a compaction",
         document({"id": "resp_c", "object": "response.compaction", "created_at": 1764000000, "output": [],
                   "usage": {"input_tokens": 1000, "output_tokens": 200, "total_tokens": 1200}}),
         lambda client: client.responses.compact(model="gpt-4o", input="long"),
         {"operation": "responses.compact", "model": "gpt-4o", "prompt_tokens": 1000, "completion_tokens": 200,
          "response_id": "resp_c"}, "0.0045", since=(2, 54)),  # 2.50 and 10 a million
]  # fmt: skip
VERSION = tuple(int(part) for part in openai.__version__.split(".")[:2])
KNOWN = [kind for kind in KINDS if kind.since <= VERSION]


def check(recorded: Recorded, kind: Kind) -> None:
    event: Any = recorded.event
    assert {name: event.get(name) for name in kind.expected} == kind.expected
    assert event.get("usage_details", {}).get("units", {}) == kind.units
    assert tuple(event.get("metadata", {}).get("treering_flags", ())) == kind.flags
    assert (event["user_id"], event["status"]) == ("user_1", "ok")
    if kind.cost is None:
        assert (event.get("estimated_cost"), event["cost_source"]) == (None, "unpriced")
    else:
        assert float(event["estimated_cost"]) == pytest.approx(float(kind.cost), rel=1e-12)
    assert not any(word in json.dumps(event) for word in ("alive", "Water", "leaf", "greener"))


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.name)
def test_a_call_is_recorded_once(kind: Kind, client: openai.OpenAI, server: OpenAIServer, recorded: Recorded) -> None:
    server.script.append(kind.reply)
    with ingest.usage_context(user_id="user_1"):
        answer = kind.ask(client)
        if kind.expected.get("streamed"):
            assert len(list(answer)) >= 1
    check(recorded, kind)


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.name)
def test_an_asynchronous_call_is_recorded_once(kind: Kind, server: OpenAIServer, recorded: Recorded) -> None:
    async def use() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=server.url, max_retries=0) as client:
            answer = await kind.ask(ingest.track(client))
            if kind.expected.get("streamed"):
                assert len([part async for part in answer]) >= 1

    server.script.append(kind.reply)
    with ingest.usage_context(user_id="user_1"):
        asyncio.run(use())
    check(recorded, kind)


def test_a_body_that_is_not_json_is_read_as_it_comes(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.extend([SOUND, document({"text": "Water.", "usage": TOKENS}), SOUND])
    speech: dict[str, Any] = {"model": "tts-1", "voice": "alloy", "input": "Water your tree."}
    with client.audio.speech.with_streaming_response.create(**speech) as response:
        assert b"".join(response.iter_bytes()) == b"\xff\xfb\x90"
    raw = client.audio.transcriptions.with_raw_response.create(model="gpt-4o-transcribe", file=AUDIO)
    assert "Water." in str(raw.parse())
    assert client.with_options(timeout=5).audio.speech.create(**speech).content == b"\xff\xfb\x90"
    spoken, heard, spoken_again = recorded.events
    assert spoken["usage_details"] == spoken_again["usage_details"] == {"units": {"characters": 16}}
    assert (heard["prompt_tokens"], heard["completion_tokens"]) == (640, 120)


def test_a_refused_call_of_any_kind_costs_nothing(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    error = {"error": {"message": "no", "type": "invalid_request_error", "code": "content_policy_violation"}}
    server.script.extend(document(error, 400) for _ in range(2))
    with pytest.raises(openai.BadRequestError):
        client.images.generate(model="gpt-image-1", prompt="A leaf")
    with pytest.raises(openai.BadRequestError):
        _transcribe("whisper-1")(client)
    for event in recorded.events:
        assert (event["status"], event["error_type"]) == ("error", "content_policy_violation")
        assert float(str(event["estimated_cost"])) == 0


def test_files_and_lists_leave_no_row(client: openai.OpenAI, server: OpenAIServer, recorded: Recorded) -> None:
    server.script.extend(document({"object": "list", "data": [], "has_more": False}) for _ in range(2))
    server.script.append(document({"id": "file-1", "object": "file", "purpose": "batch"}))
    client.models.list()
    client.files.list()
    client.files.create(file=("in.jsonl", b"{}"), purpose="batch")
    assert recorded.events == []


def test_a_retried_call_is_recorded_with_its_attempt(server: OpenAIServer, recorded: Recorded) -> None:
    busy = document({"error": {"message": "busy", "code": None}}, 429, **{"retry-after-ms": "1"})
    server.script.append(busy)
    with openai.OpenAI(api_key="k", base_url=server.url, max_retries=1) as client:
        ingest.track(client).chat.completions.create(**ASK)
    event: Any = recorded.event
    assert (event["status"], event["attempt"], event["prompt_tokens"]) == ("ok", 2, 21)
    assert event["metadata"]["treering_retried_ms"] > 0


def test_a_chat_of_any_version_is_recorded_streamed_and_not(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    client.chat.completions.create(**ASK)
    assert len(list(client.chat.completions.create(**ASK, stream=True))) == 6
    stream = client.chat.completions.create(**ASK, stream=True)
    next(iter(stream))
    stream.close()
    server.script.append(Reply(frames([chunk("a"), chunk("b")], done=False), ending="cut"))
    with pytest.raises(Exception, match=r"peer closed|Connection"):  # of httpx or of openai, as the version has it
        list(client.chat.completions.create(**ASK, stream=True))
    assert [event["status"] for event in recorded.events] == ["ok", "ok", "cancelled", "error"]
    assert [event["prompt_tokens"] for event in recorded.events] == [21, 21, 23, 23]
