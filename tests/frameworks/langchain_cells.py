"""LangChain: ChatOpenAI."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

NAME = "LangChain, ChatOpenAI"
PACKAGE = "langchain-openai"
API = "chat"
PROMPT = "How do I keep my tree?"


@tool  # type: ignore[untyped-decorator]  # not installed where types are checked
def water(plant: str) -> str:
    """Water a plant."""
    return f"{plant}: done"


def _model(url: str) -> Any:
    return ChatOpenAI(model="gpt-4o", base_url=url, api_key="k")


def plain(url: str) -> None:
    assert _model(url).invoke(PROMPT).content == "Water your living tree."


def stream(url: str) -> None:
    assert "".join(part.content for part in _model(url).stream(PROMPT)) == "Water your living tree."


def async_(url: str) -> None:
    async def use() -> None:
        await _model(url).ainvoke(PROMPT)

    asyncio.run(use())


def tools(url: str) -> None:
    model = _model(url).bind_tools([water])
    messages: list[Any] = [HumanMessage(PROMPT)]
    messages.append(model.invoke(messages))
    call = messages[-1].tool_calls[0]
    messages.append(ToolMessage(water.invoke(call["args"]), tool_call_id=call["id"]))
    model.invoke(messages)


def cancelled(url: str) -> None:
    parts = _model(url).stream(PROMPT)
    for part in parts:
        if part.content:
            break
    parts.close()


def retried(url: str) -> None:
    plain(url)
