"""The openai client: chat completions."""

from __future__ import annotations

import asyncio
from typing import Any

import openai

NAME = "openai, chat completions"
PACKAGE = "openai"
API = "chat"

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "How do I keep my tree?"}]}
PARAMETERS = {"type": "object", "properties": {"plant": {"type": "string"}}, "required": ["plant"]}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "water", "parameters": PARAMETERS}}]


def plain(url: str) -> None:
    with openai.OpenAI(api_key="k", base_url=url) as client:
        assert client.chat.completions.create(**ASK).choices[0].message.content == "Water your living tree."


def stream(url: str) -> None:
    with openai.OpenAI(api_key="k", base_url=url) as client:
        parts = [part.choices[0].delta.content or "" for part in client.chat.completions.create(**ASK, stream=True)]
    assert "".join(parts) == "Water your living tree."


def async_(url: str) -> None:
    async def use() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=url) as client:
            await client.chat.completions.create(**ASK)

    asyncio.run(use())


def tools(url: str) -> None:
    with openai.OpenAI(api_key="k", base_url=url) as client:
        asked = client.chat.completions.create(**ASK, tools=TOOLS).choices[0].message
        assert asked.tool_calls
        result: Any = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "done"}
        messages = [*ASK["messages"], asked.model_dump(exclude_none=True), result]
        client.chat.completions.create(**{**ASK, "messages": messages}, tools=TOOLS)


def cancelled(url: str) -> None:
    with openai.OpenAI(api_key="k", base_url=url) as client:
        for _ in client.chat.completions.create(**ASK, stream=True):
            break


def retried(url: str) -> None:
    plain(url)
