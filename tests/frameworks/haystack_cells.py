"""haystack: OpenAIChatGenerator."""

from __future__ import annotations

import asyncio
from typing import Any

from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import Tool
from haystack.utils import Secret

NAME = "haystack"
PACKAGE = "haystack-ai"
API = "chat"
PARAMETERS = {"type": "object", "properties": {"plant": {"type": "string"}}, "required": ["plant"]}
MESSAGES = [ChatMessage.from_user("How do I keep my tree?")]


class LeftError(Exception):
    """Ends a stream early."""


def _generator(url: str, **more: Any) -> Any:
    return OpenAIChatGenerator(api_key=Secret.from_token("k"), model="gpt-4o", api_base_url=url, **more)


def plain(url: str) -> None:
    assert _generator(url).run(MESSAGES)["replies"][0].text == "Water your living tree."


def stream(url: str) -> None:
    parts: list[str] = []
    _generator(url, streaming_callback=lambda part: parts.append(part.content)).run(MESSAGES)
    assert "".join(parts) == "Water your living tree."


def async_(url: str) -> None:
    async def use() -> None:
        await _generator(url).run_async(MESSAGES)

    asyncio.run(use())


def tools(url: str) -> None:
    water = Tool(name="water", description="Water a plant.", parameters=PARAMETERS, function=str)
    generator = _generator(url, tools=[water])
    asked = generator.run(MESSAGES)["replies"][0]
    generator.run([*MESSAGES, asked, ChatMessage.from_tool("done", origin=asked.tool_calls[0])])


def cancelled(url: str) -> None:
    def leave(_: Any) -> None:
        raise LeftError

    try:
        _generator(url, streaming_callback=leave).run(MESSAGES)
    except LeftError:
        return


def retried(url: str) -> None:
    plain(url)
