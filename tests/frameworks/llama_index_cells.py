"""LlamaIndex: its OpenAI model."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI

NAME = "LlamaIndex"
PACKAGE = "llama-index-llms-openai"
API = "chat"
MESSAGES = [ChatMessage(role="user", content="How do I keep my tree?")]


def _model(url: str) -> Any:
    return OpenAI(model="gpt-4o", api_base=url, api_key="k")


def plain(url: str) -> None:
    assert _model(url).chat(MESSAGES).message.content == "Water your living tree."


def stream(url: str) -> None:
    assert [part.message.content for part in _model(url).stream_chat(MESSAGES)][-1] == "Water your living tree."


def async_(url: str) -> None:
    async def use() -> None:
        await _model(url).achat(MESSAGES)

    asyncio.run(use())


def tools(url: str) -> None:
    def water(plant: str) -> str:
        """Water a plant."""
        return f"{plant}: done"

    model = _model(url)
    found = [FunctionTool.from_defaults(water)]
    asked = model.chat_with_tools(found, chat_history=MESSAGES)
    call = model.get_tool_calls_from_response(asked)[0]
    result = ChatMessage(role="tool", content="done", additional_kwargs={"tool_call_id": call.tool_id})
    model.chat_with_tools(found, chat_history=[*MESSAGES, asked.message, result])


def cancelled(url: str) -> None:
    parts = _model(url).stream_chat(MESSAGES)
    next(parts)
    parts.close()


def retried(url: str) -> None:
    plain(url)
