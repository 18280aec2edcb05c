"""The openai client: responses."""

from __future__ import annotations

import asyncio
from typing import Any

import openai

from tests.frameworks.openai_chat import PARAMETERS

NAME = "openai, responses"
PACKAGE = "openai"
API = "responses"

ASK: dict[str, Any] = {"model": "gpt-4o", "input": "How do I keep my tree?"}
TOOLS: list[Any] = [{"type": "function", "name": "water", "parameters": PARAMETERS, "strict": False}]


def plain(url: str) -> None:
    with openai.OpenAI(api_key="k", base_url=url) as client:
        assert client.responses.create(**ASK).output_text == "Water your living tree."


def stream(url: str) -> None:
    with openai.OpenAI(api_key="k", base_url=url) as client:
        kinds = [event.type for event in client.responses.create(**ASK, stream=True)]
    assert kinds[-1] == "response.completed"


def async_(url: str) -> None:
    async def use() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=url) as client:
            await client.responses.create(**ASK)

    asyncio.run(use())


def tools(url: str) -> None:
    with openai.OpenAI(api_key="k", base_url=url) as client:
        asked = client.responses.create(**ASK, tools=TOOLS).output[0]
        assert asked.type == "function_call"
        result: Any = {"type": "function_call_output", "call_id": asked.call_id, "output": "done"}
        client.responses.create(model="gpt-4o", input=[asked.model_dump(), result], tools=TOOLS)


def cancelled(url: str) -> None:
    with openai.OpenAI(api_key="k", base_url=url) as client:
        for event in client.responses.create(**ASK, stream=True):
            if event.type == "response.output_text.delta":
                break


def retried(url: str) -> None:
    plain(url)
