"""What is kept of a request: hashes, limits, and the prompt as JSON until its tokens are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ingest.record.blocks import hash_blocks
from ingest.record.hashing import hash_text
from ingest.tracking.tool_calls import count_tool_retries

_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
# What the provider puts before the messages, which are then not the whole prompt.
_UNSEEN = ("previous_response_id", "conversation", "cachedContent")
# What else an answer to the same messages depends on.
_FORM = ("response_format", "text", "dimensions", "voice", "prompt")
_LEADING_ROLES = ("system", "developer")


class Asked(NamedTuple):  # `dataclasses` would double the time that `import ingest` takes
    """The parts of a request that matter here.

    Attributes:
        model: Model that was asked for.
        prompt: The prompt as JSON, for counting; never recorded.
        prompt_hash: Salted hash of tools, instructions and messages, what they go on from and the form of the answer;
            None where the request has no messages.
        prefix_hash: Salted hash of what comes before the conversation: tools, instructions and the leading system
            messages, else the first message. The provider's cache works on beginnings.
        max_output_tokens: Limit that was set.
        prefix_share: Part of the prompt's bytes that are before the conversation.
        prompt_blocks: Salted hashes of its beginnings; None where they are off, the prompt is short, or it begins
            with what the provider keeps.
        tool_retries: Calls of tools in its last turn that repeat earlier ones.
    """

    model: str = "unknown"
    prompt: bytes = b""
    prompt_hash: str | None = None
    prefix_hash: str | None = None
    max_output_tokens: int | None = None
    prefix_share: float = 0.0
    prompt_blocks: str | None = None
    tool_retries: int = 0


def read_request(body: Mapping[str, Any], salt: bytes, *, with_blocks: bool = True) -> Asked:
    """Read the body of a request.

    Args:
        body: What the client sends.
        salt: Key of the hashes.
        with_blocks: Whether to hash beginnings.
    """
    head = [body.get("tools"), body.get("functions"), body.get("instructions")]
    messages = next((body[name] for name in ("messages", "input", "prompt") if name in body), None)
    parts = list(messages) if isinstance(messages, list | tuple) else [messages]
    leading = next((index for index, part in enumerate(parts) if not _is_leading(part)), len(parts))
    has_head = leading > 0 or any(head)
    prefix = _dump([*head, *parts[: leading if has_head else 1]])
    prompt = _dump([*head, *parts])
    is_known = messages is not None
    goes_on = [[name, body[name]] for name in _UNSEEN if body.get(name)]
    form = [[name, body[name]] for name in _FORM if body.get(name) and body[name] is not messages]
    whole = prompt + _dump([*goes_on, *form]) if goes_on or form else prompt
    limit = next((body[name] for name in _LIMITS if isinstance(body.get(name), int)), None)
    return Asked(
        model=str(body.get("model") or "unknown"),
        prompt=prompt,
        prompt_hash=hash_text(salt, whole) if is_known else None,
        prefix_hash=hash_text(salt, prefix) if is_known and (has_head or not goes_on) else None,
        max_output_tokens=limit,
        prefix_share=len(prefix) / len(prompt),
        prompt_blocks=hash_blocks(salt, prompt) if with_blocks and not goes_on else None,
        tool_retries=count_tool_retries(parts, _dump),
    )


def _is_leading(part: Any) -> bool:
    return (type(part) is dict or isinstance(part, Mapping)) and part.get("role") in _LEADING_ROLES


def _dump(value: Any) -> bytes:
    return _encoder()(value, fallback=_name_kind, bytes_mode="base64")


def _name_kind(item: object) -> str:
    return f"<{type(item).__name__}>"


@lru_cache(maxsize=1)
def _encoder() -> Callable[..., bytes]:
    from pydantic_core import to_json  # 40 ms that `import ingest` shall not take

    return to_json
