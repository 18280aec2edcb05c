"""What a tracked call leaves of its prompt's beginning: hashes and a length, no text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ingest.record import capture
from ingest.record.fields import ARGUMENTS
from ingest.testing import recorded
from ingest.tracking.emit import emit
from ingest.tracking.makers import anthropic, genai
from ingest.tracking.request import read_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.tracking.request import Asked

SYSTEM = "You are a tutor. " * 400  # 6,800 bytes


def body(question: str) -> dict[str, Any]:
    return {
        "model": "gpt-4o",
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}],
    }


def test_prompts_of_one_instruction_share_its_hashes_unless_they_are_off() -> None:
    one, other = (read_request(body(text), b"salt").prompt_blocks for text in ("Why?" * 900, "How?" * 1200))
    assert one is not None
    assert other is not None
    # 4,096 to 6,656 bytes lie within the instruction: six hashes behind the size.
    assert one[8:56] == other[8:56]
    assert one[56:64] != other[56:64]
    assert read_request(body("Why?"), b"salt", with_blocks=False).prompt_blocks is None
    assert read_request({"model": "gpt-4o", "messages": []}, b"salt").prompt_blocks is None


@pytest.mark.parametrize("read", [anthropic._read, lambda asked: genai._read("gemini-2.5-pro", asked)])
@pytest.mark.parametrize("is_on", [True, False])
def test_the_setting_holds_for_other_makers_clients(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[dict[str, Any]], Asked], is_on: bool
) -> None:
    monkeypatch.setattr(capture, "keeps_blocks", lambda: is_on)
    asked = read({"system": SYSTEM, "systemInstruction": SYSTEM, "messages": [], "contents": []})
    assert asked.prompt_hash is not None
    assert (asked.prompt_blocks is not None) == is_on


def test_the_length_of_the_prefix_is_its_share_of_the_tokens_that_were_reported() -> None:
    asked = read_request(body("Why?" * 500), b"salt")
    assert 0.75 < asked.prefix_share < 0.8
    fields: dict[str, Any] = {
        "user_id": "u", "model": "gpt-4o", "attempt": 1, "prefix_share": asked.prefix_share,
        "prompt_blocks": asked.prompt_blocks,
    }  # fmt: skip
    with recorded() as events:
        emit(fields, {"prompt_tokens": 2000, "completion_tokens": 5}, {})
    (event,) = events.usage if hasattr(events, "usage") else events
    assert event["prefix_tokens"] == int(2000 * asked.prefix_share)
    assert event["prompt_blocks"] == f"\\x{asked.prompt_blocks}"
    assert {"prefix_tokens", "prompt_blocks"} <= ARGUMENTS


@pytest.mark.parametrize(
    "more",
    [{"previous_response_id": "resp_1"}, {"conversation": {"id": "c"}}, {"text": {"format": {"type": "json_object"}}},
     {"dimensions": 256}, {"response_format": {"type": "json_object"}}, {"prompt": {"id": "p"}}],
)  # fmt: skip
def test_the_same_words_in_another_conversation_or_for_another_form_are_another_prompt(more: dict[str, Any]) -> None:
    plain, other, again = (
        read_request({"input": "Go on. " * 900, **extra}, b"salt") for extra in ({}, more, dict(more))
    )
    assert plain.prompt == other.prompt
    assert plain.prompt_hash != other.prompt_hash == again.prompt_hash
    goes_on = "previous_response_id" in more or "conversation" in more
    assert (other.prompt_blocks is None) == (other.prefix_hash is None) == goes_on


def test_a_request_without_messages_has_no_hash() -> None:
    bodies: list[dict[str, Any]] = [{}, {"instructions": "Be brief."}, {"messages": None}]
    for asked in (read_request(empty, b"salt") for empty in bodies):
        assert (asked.prompt_hash, asked.prefix_hash) == (None, None)
