"""dspy: a prediction over LiteLLM."""

from __future__ import annotations

import asyncio
from typing import Any

import dspy

NAME = 'dspy, engine="litellm"'
PACKAGE = "dspy"
API = "chat"
CALLS_NO_TOOLS_ITSELF = True
RETRIES_ITSELF = True
TEXT = "[[ ## answer ## ]]\nWater your living tree.\n\n[[ ## completed ## ]]"


def _model(url: str) -> Any:
    return dspy.LM("openai/gpt-4o", api_base=url, api_key="k", cache=False, num_retries=2, engine="litellm")


def plain(url: str) -> None:
    with dspy.context(lm=_model(url)):
        assert dspy.Predict("question -> answer")(question="How do I keep my tree?").answer == "Water your living tree."


def stream(url: str) -> None:
    async def use() -> None:
        with dspy.context(lm=_model(url)):
            program = dspy.streamify(dspy.Predict("question -> answer"))
            async for _ in program(question="How do I keep my tree?"):
                pass

    asyncio.run(use())


def async_(url: str) -> None:
    async def use() -> None:
        with dspy.context(lm=_model(url)):
            await dspy.Predict("question -> answer").acall(question="How do I keep my tree?")

    asyncio.run(use())


def tools(url: str) -> None:
    def water(plant: str) -> str:
        """Water a plant."""
        return f"{plant}: done"

    signature = dspy.Signature(
        {
            "question": (str, dspy.InputField()),
            "tools": (list[dspy.Tool], dspy.InputField()),
            "outputs": (dspy.ToolCalls, dspy.OutputField()),
        }
    )
    with dspy.context(lm=_model(url), adapter=dspy.ChatAdapter(use_native_function_calling=True)):
        dspy.Predict(signature)(question="How do I keep my tree?", tools=[dspy.Tool(water)])


def cancelled(url: str) -> None:
    async def use() -> None:
        with dspy.context(lm=_model(url)):
            program = dspy.streamify(dspy.Predict("question -> answer"))
            parts = program(question="How do I keep my tree?")
            async for _ in parts:
                break
            await parts.aclose()

    asyncio.run(use())


def retried(url: str) -> None:
    plain(url)
