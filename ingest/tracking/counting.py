"""Counts tokens where a provider reported none, in the background: no caller waits for a tokenizer."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ingest.record.last_call import last_call
from ingest.tracking import background
from ingest.tracking.emit import emit
from ingest.tracking.operations import operation_named

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.record.last_call import RecordedCall

_DEFAULT_ENCODING = "o200k_base"  # GPT-4o and later
_LOAD_TIMEOUT_S = 10.0
_RETRY_LOAD_S = 600.0
_CHARACTERS_PER_TOKEN = 4
# As OpenAI counts a chat: each message has a frame of three tokens, and the answer is opened with three.
_PER_MESSAGE, _PER_PROMPT = 3, 3
_PIECE = 100_000


class Encoding(Protocol):
    """What counts tokens; tiktoken's."""

    def encode_ordinary(self, text: str) -> list[int]:
        """Make tokens."""
        ...


class Job(NamedTuple):
    """A call to be counted and recorded.

    Attributes:
        fields: What was measured.
        said: What the product said.
        prompt: The prompt as JSON.
        texts: What was delivered.
        has_other_parts: Whether anything other than text was delivered too.
        reported: What the provider reported, without completion and perhaps prompt.
        on_recorded: Called once the call is in the journal.
        call: What the caller holds of the call already.
    """

    fields: dict[str, Any]
    said: dict[str, Any]
    prompt: bytes
    texts: tuple[str, ...]
    has_other_parts: bool
    reported: dict[str, Any] | None
    on_recorded: Callable[[], None] | None = None
    call: RecordedCall | None = None


class Vocabularies:
    """The encodings loaded so far, by name.

    Args:
        load: Loads one; may take long and may fail.
    """

    def __init__(self, load: Callable[[str], Encoding] | None = None) -> None:
        self._load = load or load_encoding
        self._encodings: dict[str, Encoding] = {}
        self._tried_at: dict[str, float] = {}

    def find(self, model: str) -> Encoding | None:
        """Return a model's encoding; None where it cannot be had now."""
        name = encoding_name(model)
        if name is None:
            return None
        found = self._encodings.get(name)
        tried_at = self._tried_at.get(name)
        if found is None and (tried_at is None or time.monotonic() - tried_at > _RETRY_LOAD_S):
            self._tried_at[name] = time.monotonic()
            loader = threading.Thread(target=self._fetch, args=(name,), name="treering-vocabulary", daemon=True)
            loader.start()
            loader.join(_LOAD_TIMEOUT_S)  # a download may hang forever
            found = self._encodings.get(name)
        return found

    def _fetch(self, name: str) -> None:
        with suppress(Exception):  # offline, or a damaged cache: the count is then a marked estimate
            self._encodings[name] = self._load(name)


def count(job: Job, encoding: Encoding | None) -> dict[str, Any]:
    """Count a job's tokens with `encoding`, or estimate them by length."""
    prompt, has_other_parts = count_prompt(job.prompt, encoding)
    completion = sum(_count_text(text, encoding) for text in _join(job.texts))
    is_exact = encoding is not None and not has_other_parts and not job.has_other_parts
    has_input_alone = operation_named(str(job.fields["operation"])).has_input_alone
    counted: dict[str, Any] = {**(job.reported or {}), "usage_source": "tokenizer" if is_exact else "heuristic"}
    total = counted.get("total_tokens")
    if total is not None:  # the provider reported only the total
        if has_input_alone:
            return {**counted, "prompt_tokens": total, "completion_tokens": 0, "usage_source": "reported"}
        completion = min(completion, total)
        prompt = total - completion
    if has_input_alone or job.fields["operation"] == "completions":
        prompt = max(prompt - _PER_PROMPT, 0)  # a text, not a chat
    if has_input_alone:
        completion = 0
    prompt = counted.get("prompt_tokens", prompt)
    return {**counted, "prompt_tokens": prompt, "completion_tokens": completion}


def count_prompt(prompt: bytes, encoding: Encoding | None) -> tuple[int, bool]:
    """Count the tokens of a prompt; also says whether it has parts whose tokens cannot be counted here."""
    if not prompt:
        return 0, False
    parts = json.loads(prompt)
    total, has_other_parts = _PER_PROMPT, False
    for index, part in enumerate(parts):
        if part is None:
            continue
        if index < 3:  # tools, functions, instructions
            total += _count_text(part if isinstance(part, str) else json.dumps(part), encoding)
        elif isinstance(part, str):
            total += _count_text(part, encoding)
        elif isinstance(part, int):
            total += 1  # an embedding's input as tokens
        elif isinstance(part, list):
            total += len(part)
        else:
            texts, is_text = _texts_of(part)
            total += _PER_MESSAGE + sum(_count_text(text, encoding) for text in texts)
            has_other_parts = has_other_parts or not is_text
    return total, has_other_parts


def _texts_of(message: dict[str, Any]) -> tuple[list[str], bool]:
    texts = [str(message[name]) for name in ("role", "name", "text", "arguments", "output") if message.get(name)]
    is_text = message.get("type") != "image_url"  # a part of what is moderated
    content = message.get("content")
    if isinstance(content, str):
        texts.append(content)
    for part in content if isinstance(content, list) else ():
        text = part.get("text", part.get("refusal")) if isinstance(part, dict) else None
        if isinstance(text, str):
            texts.append(text)
        else:
            is_text = False
    for tool in message.get("tool_calls") or ():
        function = tool.get("function", {})
        texts += [str(function[name]) for name in ("name", "arguments") if function.get(name)]
    return texts, is_text


def _join(texts: tuple[str, ...]) -> list[str]:
    """One text, as chunks cut words; in pieces, as a tokenizer may be slow on a very long one."""
    text = "".join(texts)
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]


def _count_text(text: str, encoding: Encoding | None) -> int:
    if encoding is not None:
        return sum(len(encoding.encode_ordinary(text[at : at + _PIECE])) for at in range(0, len(text), _PIECE))
    return -(-len(text.encode("utf-8", "replace")) // _CHARACTERS_PER_TOKEN)


def encoding_name(model: str) -> str | None:
    """The name of a model's vocabulary; None where tiktoken is not installed."""
    try:
        from tiktoken import model as known
    except ImportError:
        return None
    try:
        return known.encoding_name_for_model(model.rpartition("/")[2])
    except KeyError:
        return _DEFAULT_ENCODING


def load_encoding(name: str) -> Encoding:
    """Load a vocabulary: from tiktoken's cache, else from the network."""
    import tiktoken

    return tiktoken.get_encoding(name)


_vocabularies = Vocabularies()


def submit(job: Job) -> None:
    """Count and record `job` in the background."""
    background.submit(lambda is_hurried: _record(job, is_hurried=is_hurried))


def _record(job: Job, *, is_hurried: bool) -> None:
    encoding: Encoding | None = None
    with suppress(Exception):  # at the end of the process neither imports nor threads work any more
        encoding = None if is_hurried else _vocabularies.find(str(job.fields["model"]))
    try:
        emit(job.fields, count(job, encoding), job.said)
        counted = last_call()
        if job.call is not None and counted is not None:
            job.call.become(counted)
    finally:
        if job.on_recorded is not None:
            job.on_recorded()


def _begin_anew() -> None:
    global _vocabularies
    _vocabularies = Vocabularies()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)  # a vocabulary that was being loaded never comes in a child
