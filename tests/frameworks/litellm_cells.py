"""LiteLLM: completion of a model of OpenAI's."""

from __future__ import annotations

import asyncio
from typing import Any

import litellm

from tests.frameworks.openai_chat import TOOLS

NAME = "LiteLLM, openai/…"
PACKAGE = "litellm"
API = "chat"
MESSAGES: list[Any] = [{"role": "user", "content": "How do I keep my tree?"}]


def _ask(url: str, **more: Any) -> dict[str, Any]:
    return {"model": "openai/gpt-4o", "api_base": url, "api_key": "k", "messages": MESSAGES, **more}


def plain(url: str) -> None:
    answer = litellm.completion(**_ask(url))
    assert answer.choices[0].message.content == "Water your living tree."


def stream(url: str) -> None:
    parts = [part.choices[0].delta.content or "" for part in litellm.completion(**_ask(url, stream=True))]
    assert "".join(parts) == "Water your living tree."


def async_(url: str) -> None:
    async def use() -> None:
        await litellm.acompletion(**_ask(url))

    asyncio.run(use())


def tools(url: str) -> None:
    asked = litellm.completion(**_ask(url, tools=TOOLS)).choices[0].message
    result = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "done"}
    litellm.completion(**_ask(url, tools=TOOLS, messages=[*MESSAGES, asked.model_dump(), result]))


def cancelled(url: str) -> None:
    for _ in litellm.completion(**_ask(url, stream=True)):
        break


def retried(url: str) -> None:
    litellm.completion(**_ask(url, max_retries=2))
