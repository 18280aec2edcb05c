"""LangChain and LangGraph with `TreeringHandler`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai
import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI, OpenAI
from langgraph.graph import END, START, MessagesState, StateGraph

import ingest
from ingest.tracking import seen
from ingest.tracking.integrations.langchain import TreeringHandler
from tests.frameworks.langchain_cells import PROMPT, water
from tests.support.openai_models import answer_as_model
from tests.support.openai_server import OpenAIServer, document

if TYPE_CHECKING:
    from tests.unit.tracking.conftest import Recorded

RIGHT = {"provider": "openai", "operation": "chat", "model": "gpt-4o-2024-08-06", "prompt_tokens": 21,
         "completion_tokens": 5, "cached_tokens": 8, "status": "ok", "usage_source": "reported", "user_id": "user_1",
         "finish_reason": "stop", "feature": "garden"}  # fmt: skip
LONG = document(
    {"error": {"message": "secret", "type": "invalid_request_error", "code": "context_length_exceeded"}}, 400
)


def model(server: OpenAIServer, **options: Any) -> Any:
    return ChatOpenAI(model="gpt-4o", base_url=server.url, api_key="k", max_retries=0, stream_usage=True, **options)


def check(event: Any, **expected: Any) -> None:
    assert {name: event.get(name) for name in expected} == expected
    assert event["latency_ms"] > 0
    assert "secret" not in str(event)


def test_chat_models_sync_and_async_streamed_and_not(server: OpenAIServer, recorded: Recorded) -> None:
    config: Any = {"callbacks": [TreeringHandler(feature="garden")]}

    async def use() -> None:
        await model(server).ainvoke(PROMPT, config)
        async for _ in model(server).astream(PROMPT, config):
            pass

    with ingest.usage_context(user_id="user_1"):
        model(server).invoke(PROMPT, config)
        list(model(server).stream(PROMPT, config))
        seen.forget()  # the server repeats its ids
        asyncio.run(use())
    for event, is_streamed in zip(recorded.events, (None, True, None, True), strict=True):
        check(event, **RIGHT, streamed=is_streamed)
        assert (event.get("time_to_first_token_ms") is not None) is bool(is_streamed)


def test_deep_in_chains_and_graphs_tools_included(server: OpenAIServer, recorded: Recorded) -> None:
    config: Any = {"callbacks": [TreeringHandler(feature="garden")], "metadata": {"treering": {"session_id": "s"}}}

    def answer(state: MessagesState) -> Any:
        return {"messages": [model(server).bind_tools([water]).invoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").add_edge("answer", END)
    chain = ChatPromptTemplate.from_template("{question}") | model(server) | StrOutputParser()
    server.answer = answer_as_model
    with ingest.usage_context(user_id="user_1"):
        chain.invoke({"question": PROMPT}, config)
        seen.forget()
        graph.compile().invoke({"messages": [("user", PROMPT)]}, config)
    assert len(recorded.events) == 2
    for event in recorded.events:
        check(event, status="ok", user_id="user_1", session_id="s", feature="garden", prompt_tokens=21)
    assert recorded.events[1]["finish_reason"] == "tool_calls"


def test_the_responses_api_and_a_model_of_texts(server: OpenAIServer, recorded: Recorded) -> None:
    config: Any = {"callbacks": [TreeringHandler()]}
    model(server, use_responses_api=True).invoke(PROMPT, config)
    check(recorded.event, prompt_tokens=30, completion_tokens=12, cached_tokens=10, reasoning_tokens=6,
          service_tier="flex", response_id="resp_1")  # fmt: skip
    recorded.database.usage.clear()
    body = {"id": "cmpl-1", "object": "text_completion", "model": "gpt-3.5-turbo-instruct", "created": 1,
            "choices": [{"index": 0, "text": "Water it.", "finish_reason": "stop", "logprobs": None}],
            "usage": {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}}  # fmt: skip
    server.script.append(document(body))
    OpenAI(model="gpt-3.5-turbo-instruct", base_url=server.url, api_key="k").invoke(PROMPT, config)
    check(recorded.event, prompt_tokens=4, completion_tokens=3, status="ok")


def test_failures_and_streams_that_are_left(server: OpenAIServer, recorded: Recorded) -> None:
    config: Any = {"callbacks": [TreeringHandler()]}
    server.script.append(LONG)
    with pytest.raises(openai.BadRequestError):
        model(server).invoke(PROMPT, config)
    check(recorded.event, status="error", error_type="context_length_exceeded", prompt_tokens=0)
    recorded.database.usage.clear()
    parts = model(server).stream(PROMPT, config)
    next(parts)
    parts.close()
    check(recorded.event, status="cancelled", completion_tokens=1, usage_source="tokenizer")


def test_what_instrument_records_as_well_is_recorded_once(server: OpenAIServer, instrumented: Recorded) -> None:
    config: Any = {"callbacks": [TreeringHandler(feature="garden")]}
    with ingest.usage_context(user_id="user_1", feature="garden"):
        model(server).invoke(PROMPT, config)
        assert len(instrumented.events) == 1
        list(model(server).stream(PROMPT, config))
        assert len(instrumented.events) == 2
        parts = model(server).stream(PROMPT, config)
        next(parts)
        parts.close()
        assert len(instrumented.events) == 3
        server.script.append(LONG)
        with pytest.raises(openai.BadRequestError):
            model(server).invoke(PROMPT, config)
    *answered, left, failed = instrumented.events
    for event in answered:
        check(event, **RIGHT)
    assert (left["status"], failed["status"]) == ("cancelled", "error")
