"""pydantic-ai: an agent over chat completions."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

NAME = "pydantic-ai"
PACKAGE = "pydantic-ai-slim[openai]"
API = "chat"
PROMPT = "How do I keep my tree?"


def _agent(url: str) -> Any:
    return Agent(OpenAIChatModel("gpt-4o", provider=OpenAIProvider(base_url=url, api_key="k")))


def plain(url: str) -> None:
    assert _agent(url).run_sync(PROMPT).output == "Water your living tree."


def stream(url: str) -> None:
    async def use() -> None:
        async with _agent(url).run_stream(PROMPT) as result:
            assert [text async for text in result.stream_text()][-1] == "Water your living tree."

    asyncio.run(use())


def async_(url: str) -> None:
    async def use() -> None:
        await _agent(url).run(PROMPT)

    asyncio.run(use())


def tools(url: str) -> None:
    agent = _agent(url)

    @agent.tool_plain  # type: ignore[untyped-decorator]  # not installed where types are checked
    def water(plant: str) -> str:
        return f"{plant}: done"

    agent.run_sync(PROMPT)


def cancelled(url: str) -> None:
    async def use() -> None:
        async with _agent(url).run_stream(PROMPT) as result:
            async for _ in result.stream_text(delta=True, debounce_by=None):
                break

    asyncio.run(use())


def retried(url: str) -> None:
    plain(url)
