"""Calls of tools that a model repeats are counted from the request alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from openai.types.chat import ChatCompletionMessage

from ingest.tracking.request import read_request

if TYPE_CHECKING:
    import openai

    from tests.unit.tracking.conftest import Recorded

QUESTION = {"role": "user", "content": "What does it cost?"}


def chat(name: str, arguments: str = '{"sku": 1}') -> list[dict[str, Any]]:
    function = {"name": name, "arguments": arguments}
    return [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c", "content": "timeout"},
    ]


def items(name: str) -> list[dict[str, Any]]:
    return [
        {"type": "reasoning", "id": "r", "summary": []},
        {"type": "function_call", "call_id": "c", "name": name, "arguments": '{"sku": 1}'},
        {"type": "function_call_output", "call_id": "c", "output": "timeout"},
    ]


def blocks(name: str) -> list[dict[str, Any]]:
    return [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": name, "input": {"sku": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "is_error": True, "content": "x"}]},
    ]


def parts(name: str) -> list[dict[str, Any]]:
    return [
        {"role": "model", "content": [{"functionCall": {"name": name, "args": {"sku": 1}}}]},
        {"role": "user", "content": [{"functionResponse": {"name": name, "response": {}}}]},
    ]


def retries(*messages: dict[str, Any]) -> int:
    return read_request({"model": "m", "messages": list(messages)}, b"salt").tool_retries


@pytest.mark.parametrize("turn", [chat, items, blocks, parts])
def test_the_same_call_again_is_counted_once_in_every_form(turn: Any) -> None:
    assert retries(QUESTION, *turn("price")) == 0
    assert retries(QUESTION, *turn("price"), *turn("price")) == 1
    assert retries(QUESTION, *turn("price"), *turn("stock"), *turn("price")) == 1
    # The request after it brings the result of another call.
    assert retries(QUESTION, *turn("price"), *turn("price"), *turn("stock")) == 0
    assert retries(QUESTION, *turn("price"), QUESTION, *turn("price")) == 0
    assert retries(QUESTION, *turn("price"), *turn("price"), QUESTION) == 0


def test_other_arguments_are_no_repetition_and_nothing_else_disturbs() -> None:
    assert retries(QUESTION, *chat("price", "{}"), *chat("price")) == 0
    assert read_request({"model": "m", "input": [1, 2, 3]}, b"salt").tool_retries == 0
    assert read_request({"model": "m", "input": "text"}, b"salt").tool_retries == 0
    assert read_request({"model": "m"}, b"salt").tool_retries == 0


def test_two_calls_of_one_turn_are_each_compared() -> None:
    first, result = chat("price")
    both = {**first, "tool_calls": first["tool_calls"] * 2}
    assert retries(QUESTION, first, result, both, result, result) == 2
    assert retries(QUESTION, both, result, result) == 0


def test_the_count_is_recorded_and_no_word_of_the_call(client: openai.OpenAI, recorded: Recorded) -> None:
    asked, result = chat("price")
    message = ChatCompletionMessage.model_validate(asked)
    client.chat.completions.create(model="gpt-4o", messages=[QUESTION, message, result, message, result])  # type: ignore[list-item]
    (event,) = recorded.events
    assert event["metadata"]["treering_tool_retries"] == 1  # type: ignore[call-overload, index]
    assert "sku" not in str(event)
