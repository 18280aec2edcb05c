"""instructor: a model's answer as an object, by a tool."""

from __future__ import annotations

import asyncio
from typing import Any

import instructor
import openai
from pydantic import BaseModel

NAME = "instructor"
PACKAGE = "instructor"
API = "chat"
CALLS_NO_TOOLS_ITSELF = True
CANNOT = {"cancelled": "It reads a stream to its end before its caller sees the first part."}
ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "How do I keep my tree?"}]}


class Answer(BaseModel):
    plant: str


def plain(url: str) -> None:
    client = instructor.from_openai(openai.OpenAI(api_key="k", base_url=url))
    assert client.chat.completions.create(**ASK, response_model=Answer, max_retries=0).plant == "fern"


def stream(url: str) -> None:
    client = instructor.from_openai(openai.OpenAI(api_key="k", base_url=url))
    parts = list(client.chat.completions.create_partial(**ASK, response_model=Answer))
    assert parts[-1].plant == "fern"


def async_(url: str) -> None:
    async def use() -> None:
        client = instructor.from_openai(openai.AsyncOpenAI(api_key="k", base_url=url))
        await client.chat.completions.create(**ASK, response_model=Answer)

    asyncio.run(use())


def tools(url: str) -> None:
    plain(url)


def retried(url: str) -> None:
    plain(url)
