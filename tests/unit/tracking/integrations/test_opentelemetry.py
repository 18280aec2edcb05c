"""Spans of models' calls become events, in the words of every convention, each once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

import ingest
from ingest.tracking import seen
from ingest.tracking.integrations.opentelemetry import TreeringSpanExporter
from tests.unit.tracking.conftest import ASK

if TYPE_CHECKING:
    from pathlib import Path

    import openai

    from tests.unit.tracking.conftest import Recorded

RIGHT = {"provider": "openai", "operation": "chat", "model": "gpt-4o-2024-08-06", "prompt_tokens": 21,
         "completion_tokens": 5, "cached_tokens": 8, "reasoning_tokens": 2, "status": "ok",
         "usage_source": "reported"}  # fmt: skip
COMMON = {
    "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "chatcmpl-9", "gen_ai.response.finish_reasons": ("stop",), "gen_ai.request.max_tokens": 99,
}  # fmt: skip
COUNTED = {"gen_ai.usage.input_tokens": 21, "gen_ai.usage.output_tokens": 5}
CONVENTIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("before 1.27", {"gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o-2024-08-06",
                     "gen_ai.usage.prompt_tokens": 21, "gen_ai.usage.completion_tokens": 5},
     {"prompt_tokens": 21, "completion_tokens": 5, "provider": "openai"}),
    ("1.36", {**COMMON, **COUNTED, "gen_ai.system": "openai", "gen_ai.openai.response.service_tier": "flex",
              "gen_ai.usage.cache_read_input_tokens": 8, "gen_ai.usage.reasoning_tokens": 2},
     {**RIGHT, "service_tier": "flex", "finish_reason": "stop", "max_output_tokens": 99,
      "response_id": "chatcmpl-9"}),
    ("1.37 to 1.41", {**COMMON, **COUNTED, "gen_ai.provider.name": "openai", "openai.response.service_tier": "flex",
                      "gen_ai.usage.cache_read.input_tokens": 8, "gen_ai.usage.cache_creation.input_tokens": 4,
                      "gen_ai.usage.reasoning.output_tokens": 2, "gen_ai.conversation.id": "s", "user.id": "user_1"},
     {**RIGHT, "service_tier": "flex", "cache_write_tokens": 4, "session_id": "s", "user_id": "user_1"}),
    ("the repository's 0.1.0", {**COMMON, **COUNTED, "gen_ai.provider.name": "openai", "gen_ai.request.stream": True,
                                "gen_ai.response.time_to_first_chunk": 0.25,
                                "gen_ai.usage.cache_read.input_tokens": 8, "gen_ai.usage.cache_write.input_tokens": 4,
                                "gen_ai.usage.reasoning.output_tokens": 2},
     {**RIGHT, "cache_write_tokens": 4, "streamed": True, "time_to_first_token_ms": 250.0}),
    ("OpenInference", {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o-2024-08-06", "llm.system": "openai",
                       "llm.token_count.prompt": 21, "llm.token_count.completion": 5, "llm.token_count.total": 26,
                       "llm.token_count.prompt_details.cache_read": 8, "llm.token_count.prompt_details.audio": 3,
                       "llm.token_count.completion_details.reasoning": 2, "session.id": "s"},
     {**RIGHT, "session_id": "s", "audio_input_tokens": 3}),
    ("an embedding of OpenInference", {"openinference.span.kind": "EMBEDDING", "llm.token_count.prompt": 7,
                                       "embedding.model_name": "text-embedding-3-small"},
     {"operation": "embeddings", "prompt_tokens": 7, "completion_tokens": 0, "model": "text-embedding-3-small"}),
    ("Bedrock", {**COMMON, **COUNTED, "gen_ai.provider.name": "aws.bedrock"}, {"provider": "aws"}),
    ("Anthropic, which leaves the cache out",
     {**COMMON, "gen_ai.provider.name": "anthropic", "gen_ai.usage.input_tokens": 21, "gen_ai.usage.output_tokens": 5,
      "gen_ai.response.model": "claude-sonnet-4-5", "gen_ai.usage.cache_read.input_tokens": 100},
     {"prompt_tokens": 121, "cached_tokens": 100, "provider": "anthropic"}),
]  # fmt: skip


class Traced:
    """A tracer whose spans are recorded, and kept for another export."""

    def __init__(self, **fields: Any) -> None:
        self.kept = InMemorySpanExporter()
        self.exporter = TreeringSpanExporter(**fields)
        self.provider = TracerProvider()
        for exporter in (self.exporter, self.kept):
            self.provider.add_span_processor(SimpleSpanProcessor(exporter))

    def trace(self, attributes: dict[str, Any], failure: str | None = None) -> None:
        with self.provider.get_tracer("test").start_as_current_span("chat", attributes=attributes) as span:
            if failure is not None:
                span.set_status(Status(StatusCode.ERROR, failure))


@pytest.mark.parametrize(("attributes", "expected"), [row[1:] for row in CONVENTIONS], ids=[r[0] for r in CONVENTIONS])
def test_a_span_is_read_in_the_words_of_its_convention(
    attributes: dict[str, Any], expected: dict[str, Any], recorded: Recorded
) -> None:
    Traced(feature="garden").trace(attributes)
    event = recorded.event
    assert {name: event.get(name) for name in expected} == expected
    assert event["feature"] == ("garden")
    assert event["latency_ms"] > 0  # type: ignore[operator]


def test_spans_of_tasks_are_recorded_for_their_own_users(recorded: Recorded) -> None:
    traced = Traced()

    async def ask(user: str) -> None:
        with ingest.usage_context(user_id=user):
            await asyncio.sleep(0)  # each task has begun before the first one goes on
            traced.trace({**COMMON, **COUNTED, "gen_ai.response.id": f"chatcmpl-{user}"})

    async def ask_both() -> None:
        await asyncio.gather(ask("user_1"), ask("user_2"))

    asyncio.run(ask_both())
    found = {event["response_id"]: (event["user_id"], event["prompt_tokens"]) for event in recorded.events}
    assert found == {"chatcmpl-user_1": ("user_1", 21), "chatcmpl-user_2": ("user_2", 21)}


OTHERS = [
    {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "water"},
    {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "gpt-4o", **COUNTED},
    {"openinference.span.kind": "CHAIN", "llm.token_count.prompt": 21},
    {"http.request.method": "GET"},
    {},
]


@pytest.mark.parametrize("attributes", OTHERS)
def test_spans_of_other_work_are_left_alone(attributes: dict[str, Any], recorded: Recorded) -> None:
    Traced().trace(attributes)
    assert recorded.events == []


def test_a_span_is_recorded_once_however_often_it_is_exported(recorded: Recorded) -> None:
    traced = Traced()
    traced.trace({**COMMON, **COUNTED, "gen_ai.provider.name": "openai"})
    without_id = {name: value for name, value in {**COMMON, **COUNTED}.items() if name != "gen_ai.response.id"}
    traced.trace({**without_id, "gen_ai.provider.name": "openai"})
    assert len(recorded.events) == 2
    seen.forget()  # as another process begins
    traced.exporter.export(traced.kept.get_finished_spans())
    assert traced.exporter.force_flush()
    traced.exporter.shutdown()
    assert len(recorded.events) == 2


def test_what_a_tracked_client_has_recorded_is_left_out(client: openai.OpenAI, recorded: Recorded) -> None:
    answer = client.chat.completions.create(**ASK)
    Traced().trace({**COMMON, **COUNTED, "gen_ai.provider.name": "openai", "gen_ai.response.id": answer.id})
    assert len(recorded.events) == 1


def test_a_failure_costs_nothing_and_a_call_without_counts_has_no_cost(recorded: Recorded) -> None:
    asked = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai"}
    traced = Traced()
    traced.trace({**asked, "error.type": "rate_limit_exceeded"}, failure="secret")
    traced.trace(asked, failure="secret")
    traced.trace(asked)
    facts = [(event["status"], event.get("error_type"), event.get("estimated_cost")) for event in recorded.events]
    assert facts == [("error", "rate_limit_exceeded", "0"), ("error", "error", "0"), ("ok", None, None)]
    assert "secret" not in str(recorded.events)


def test_fields_of_the_product_are_read_from_attributes_and_context(recorded: Recorded) -> None:
    asked = {**COMMON, **COUNTED, "gen_ai.provider.name": "openai", "treering.feature": "title"}
    with ingest.usage_context(user_id="user_2", feature="garden"):
        Traced(environment="staging").trace(asked)
    event = recorded.event
    assert (event["user_id"], event["feature"], event["environment"]) == ("user_2", "title", "staging")
    with pytest.raises(TypeError, match="usr_id"):
        TreeringSpanExporter(usr_id="user_1")


def test_tenant_and_tags_are_read_from_attributes(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TREERING_TAGS", "plan")
    ingest.configure(database=recorded.database, flush_interval_s=3600, home=tmp_path)
    own = {"treering.tenant_id": "acme", "treering.tags.plan": "pro", "treering.tags.team": "a"}
    Traced().trace({**COMMON, **COUNTED, **own})
    event = recorded.event
    assert (event["tenant_id"], event["tags"], event["metadata"]["team"]) == ("acme", {"plan": "pro"}, "a")  # type: ignore[index,call-overload]


def test_a_fault_of_ours_stays_out_of_the_pipeline(monkeypatch: pytest.MonkeyPatch, recorded: Recorded) -> None:
    monkeypatch.setattr("ingest.tracking.integrations.opentelemetry._operation_of", None)
    Traced().trace({**COMMON, **COUNTED})
    assert recorded.events == []
