"""`track` of boto3's client for Bedrock: the same objects come back, and every call of a model is recorded once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.eventstream import EventStream
from botocore.exceptions import ClientError, EventStreamError
from botocore.response import StreamingBody

import ingest
from tests.support.maker_server import (
    BEDROCK,
    BEDROCK_USAGE,
    MakerServer,
    chunk_frames,
    converse_answer,
    converse_events,
    event_frame,
    event_frames,
    event_reply,
    message_events,
)
from tests.support.openai_server import document
from tests.unit.tracking.makers.conftest import check, each_way_of_leaving, leave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.tracking.conftest import Recorded

# botocore leaves the connection of a stream that was not read to its end to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MESSAGES = [{"role": "user", "content": [{"text": "How do I keep it alive?"}]}]
ASK: dict[str, Any] = {
    "modelId": BEDROCK,
    "messages": MESSAGES,
    "system": [{"text": "You are a gardener."}],
    "inferenceConfig": {"maxTokens": 99},
}
BODY = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99,
                   "messages": [{"role": "user", "content": "How do I keep it alive?"}]})  # fmt: skip
# 21 + 100 read from the cache + 8 written to it. Geographic profiles cost a tenth more: 217.8 dollars a million calls.
WHOLE = {
    "provider": "aws", "operation": "chat", "model": BEDROCK, "prompt_tokens": 129, "completion_tokens": 5,
    "cached_tokens": 100, "cache_write_tokens": 8, "status": "ok", "finish_reason": "stop", "usage_source": "reported",
    "response_id": "request-1", "max_output_tokens": 99, "estimated_cost": "0.000217800", "attempt": 1,
}  # fmt: skip


def make(makers: MakerServer, attempts: int = 1) -> Any:
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=makers.root,
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}, read_timeout=20),
    )


@pytest.fixture
def client(recorded: Recorded, makers: MakerServer) -> Iterator[Any]:
    assert recorded.database.usage == {}
    plain = make(makers)
    assert ingest.track(plain) is plain
    assert ingest.track(plain) is plain
    yield plain
    plain.close()


def test_converse_is_recorded(client: Any, recorded: Recorded) -> None:
    with ingest.usage_context(user_id="user_1", session_id="s", feature="garden"):
        answer = client.converse(**ASK)
        stream = client.converse_stream(**ASK)["stream"]
    assert answer["usage"] == BEDROCK_USAGE
    assert type(stream) is EventStream
    assert len(list(stream)) == len(converse_events())
    whole, streamed = recorded.events
    for event in (whole, streamed):
        check(event, **WHOLE, user_id="user_1", session_id="s", feature="garden")
    assert whole["prompt_hash"] == streamed["prompt_hash"]
    assert (whole.get("streamed"), streamed["streamed"]) == (None, True)
    assert 0 < streamed["time_to_first_token_ms"] <= streamed["latency_ms"]  # type: ignore[operator]


def read_all(body: StreamingBody) -> bytes:
    return body.read()  # type: ignore[no-any-return]


def read_chunks(body: StreamingBody) -> bytes:
    return b"".join(body.iter_chunks(7))


def read_lines(body: StreamingBody) -> bytes:
    return b"".join(body.iter_lines())


def read_by_json(body: StreamingBody) -> bytes:
    return json.dumps(json.load(body)).encode()


@pytest.mark.parametrize("read", [read_all, read_chunks, read_lines, read_by_json])
def test_the_body_of_a_model_is_recorded_however_it_is_read(
    read: Callable[[StreamingBody], bytes], client: Any, recorded: Recorded
) -> None:
    body = client.invoke_model(modelId=BEDROCK, body=BODY)["body"]
    assert type(body) is StreamingBody
    assert json.loads(read(body))["type"] == "message"
    check(recorded.event, **{**WHOLE, "response_id": "msg_1"})


def test_a_body_that_nobody_reads_is_billed_as_the_headers_say(client: Any, recorded: Recorded) -> None:
    answer = client.invoke_model(modelId=BEDROCK, body=BODY)
    answer["body"].close()
    check(recorded.event, status="ok", prompt_tokens=21, completion_tokens=5, usage_source="reported")


METRICS = {"inputTokenCount": 21, "outputTokenCount": 5, "invocationLatency": 12, "firstByteLatency": 5}
LAST = {"amazon-bedrock-invocationMetrics": METRICS}
NOVA = [*converse_events()[:-1], {"metadata": {"usage": {"inputTokens": 21, "outputTokens": 5}}}, LAST]
STREAMS = [
    ("Claude", BEDROCK, message_events(), "stop", 129),
    ("Nova", "amazon.nova-lite-v1:0", NOVA, "stop", 21),
    ("Llama", "meta.llama3-3-70b-instruct-v1:0",
     [{"generation": "Water"}, {"generation": "", "stop_reason": "length", **LAST}], "length", 21),
    ("Titan", "amazon.titan-text-express-v1",
     [{"outputText": "Water", "index": 0}, {"outputText": "", "completionReason": "FINISH", **LAST}], "stop", 21),
    ("Mistral", "mistral.mistral-large-2402-v1:0",
     [{"outputs": [{"text": "Water"}]}, {"outputs": [{"text": "", "stop_reason": "stop"}], **LAST}], "stop", 21),
    ("gpt-oss", "openai.gpt-oss-120b-1:0",
     [{"choices": [{"index": 0, "delta": {"content": "Water"}, "finish_reason": None}]},
      {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **LAST}], "stop", 21),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "parts", "reason", "prompt"), [row[1:] for row in STREAMS], ids=[r[0] for r in STREAMS]
)
def test_a_models_own_stream_is_recorded(
    model: str, parts: list[dict[str, Any]], reason: str, prompt: int, client: Any, makers: MakerServer,
    recorded: Recorded,
) -> None:  # fmt: skip
    makers.script.append(event_reply(chunk_frames(parts)))
    body = client.invoke_model_with_response_stream(modelId=model, body=BODY)["body"]
    assert len(list(body)) == len(parts)
    check(recorded.event, model=model, prompt_tokens=prompt, completion_tokens=5, finish_reason=reason, streamed=True,
          usage_source="reported", status="ok")  # fmt: skip
    assert recorded.event["time_to_first_token_ms"] > 0  # type: ignore[operator]


@each_way_of_leaving
def test_a_stream_that_is_left_is_cancelled_with_what_was_delivered(
    way: str, client: Any, makers: MakerServer, recorded: Recorded
) -> None:
    word = converse_events()[1]
    makers.script.append(event_reply(event_frames([word, word]), ending="stall"))
    stream = client.converse_stream(**ASK)["stream"]
    leave(stream, way)
    del stream
    check(recorded.event, status="cancelled", completion_tokens=1, usage_source="heuristic", streamed=True)


def test_an_end_without_an_end_is_an_error(client: Any, makers: MakerServer, recorded: Recorded) -> None:
    makers.script.append(event_reply(event_frames(converse_events()[:3])))
    list(client.converse_stream(**ASK)["stream"])
    check(recorded.event, status="error", error_type="stream_ended_early", completion_tokens=2)


def test_a_call_of_a_tool_is_recorded(client: Any, makers: MakerServer, recorded: Recorded) -> None:
    tool = {"toolUse": {"toolUseId": "1", "name": "water"}}
    parts: list[dict[str, Any]] = [
        {"contentBlockStart": {"contentBlockIndex": 0, "start": tool}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '{"ml": 50}'}}}},
        {"messageStop": {"stopReason": "tool_use"}},
        {"metadata": {"usage": BEDROCK_USAGE, "metrics": {"latencyMs": 12}}},
    ]
    makers.script.append(event_reply(event_frames(parts)))
    list(client.converse_stream(**ASK)["stream"])
    check(recorded.event, finish_reason="tool_calls", prompt_tokens=129, completion_tokens=5)


ERRORS = [
    (429, "ThrottlingException", "secret", "rate_limit_exceeded"),
    (400, "ServiceQuotaExceededException", "secret", "insufficient_quota"),
    (503, "ServiceUnavailableException", "secret", "overloaded"),
    (400, "ValidationException", "Input is too long for requested model. secret", "context_length_exceeded"),
    (403, "AccessDeniedException", "secret", "AccessDeniedException"),
]


@pytest.mark.parametrize(("status", "code", "text", "kind"), ERRORS)
def test_an_error_has_its_kind_and_costs_nothing(
    status: int, code: str, text: str, kind: str, client: Any, makers: MakerServer, recorded: Recorded
) -> None:
    headers = {"x-amzn-errortype": code}
    makers.script.append(document({"message": text}, status, **headers))
    with pytest.raises(ClientError):
        client.converse(**ASK)
    check(recorded.event, status="error", error_type=kind, prompt_tokens=0, completion_tokens=0)


def test_an_error_inside_a_stream_keeps_what_was_delivered(
    client: Any, makers: MakerServer, recorded: Recorded
) -> None:
    pieces = event_frames(converse_events()[:3])
    failure = event_frame("throttlingException", {"message": "secret"}, "exception")
    makers.script.append(event_reply((*pieces, failure)))
    with pytest.raises(EventStreamError):
        list(client.converse_stream(**ASK)["stream"])
    check(recorded.event, status="error", error_type="rate_limit_exceeded", completion_tokens=2)


def test_a_repeated_call_is_recorded_once(
    makers: MakerServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    headers = {"x-amzn-errortype": "ThrottlingException"}
    makers.script.append(document({"message": "secret"}, 429, **headers))
    client = ingest.track(make(makers, attempts=3), feature="search")
    assert client.converse(**ASK)["usage"] == BEDROCK_USAGE
    check(recorded.event, **{**WHOLE, "attempt": 2}, feature="search")
    client.close()


def test_fields_of_a_derived_client(client: Any, recorded: Recorded) -> None:
    derived = ingest.track(client, feature="search")
    assert type(derived) is type(client)
    derived.converse(**ASK)
    client.converse(**ASK)
    assert [event["feature"] for event in recorded.events] == ["search", "chat"]


def test_a_tier_and_embeddings_are_recorded(client: Any, makers: MakerServer, recorded: Recorded) -> None:
    makers.script.append(document({**converse_answer(), "serviceTier": {"type": "flex"}}))
    client.converse(**ASK)
    check(recorded.event, service_tier="flex")
    recorded.database.usage.clear()
    headers = {"x-amzn-bedrock-input-token-count": "7"}
    makers.script.append(document({"embedding": [0.25], "inputTextTokenCount": 7}, 200, **headers))
    client.invoke_model(modelId="amazon.titan-embed-text-v2:0", body=json.dumps({"inputText": "Water"}))["body"].read()
    check(recorded.event, operation="embeddings", prompt_tokens=7, completion_tokens=0, usage_source="reported")


def test_other_services_are_refused(recorded: Recorded) -> None:
    s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with pytest.raises(TypeError, match="bedrock-runtime, not for s3"):
        ingest.track(s3)
    assert recorded.events == []


def test_a_fault_of_ours_leaves_the_call_alone(
    client: Any, monkeypatch: pytest.MonkeyPatch, recorded: Recorded
) -> None:
    monkeypatch.setattr("ingest.tracking.makers.bedrock_answers.ConverseAnswer.add_whole", None)
    monkeypatch.setattr("ingest.tracking.makers.bedrock_answers.ConverseAnswer.add_chunk", None)
    assert client.converse(**ASK)["usage"] == BEDROCK_USAGE
    assert len(list(client.converse_stream(**ASK)["stream"])) == len(converse_events())
    monkeypatch.setattr("ingest.tracking.makers.bedrock.Call", None)
    assert client.converse(**ASK)["usage"] == BEDROCK_USAGE
    assert len(recorded.events) == 2
