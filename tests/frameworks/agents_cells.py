"""OpenAI's agents: a run over the Responses API."""

from __future__ import annotations

import asyncio
from typing import Any

import agents
import openai
from agents import Agent, Runner, function_tool

NAME = "openai-agents"
PACKAGE = "openai-agents"
API = "responses"
PROMPT = "How do I keep my tree?"


@function_tool  # type: ignore[untyped-decorator]  # not installed where types are checked
def water(plant: str) -> str:
    """Water a plant."""
    return f"{plant}: done"


def _agent(url: str, *tools: Any) -> Any:
    agents.set_tracing_disabled(True)
    client = openai.AsyncOpenAI(api_key="k", base_url=url)
    model = agents.OpenAIResponsesModel(model="gpt-4o", openai_client=client)
    return Agent(name="gardener", model=model, tools=list(tools))


def plain(url: str) -> None:
    assert Runner.run_sync(_agent(url), PROMPT).final_output == "Water your living tree."


def stream(url: str) -> None:
    async def use() -> None:
        result = Runner.run_streamed(_agent(url), PROMPT)
        async for _ in result.stream_events():
            pass
        assert result.final_output == "Water your living tree."

    asyncio.run(use())


def async_(url: str) -> None:
    async def use() -> None:
        await Runner.run(_agent(url), PROMPT)

    asyncio.run(use())


def tools(url: str) -> None:
    Runner.run_sync(_agent(url, water), PROMPT)


def cancelled(url: str) -> None:
    async def use() -> None:
        task = asyncio.current_task()
        assert task is not None
        result = Runner.run_streamed(_agent(url), PROMPT)
        async for event in result.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                result.cancel()
                break

    asyncio.run(use())


def retried(url: str) -> None:
    plain(url)
