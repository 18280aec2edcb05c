"""Calls of tools that a model repeats, told from one request: its own history has them side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ingest.tracking.usage import view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Of a long chain of calls the last eight tell enough, and a request is not to wait for more.
_LOOKED_AT: Final = 16
_CALLS: Final = frozenset({"function_call", "custom_tool_call", "tool_use"})
_RESULT_ROLES: Final = frozenset({"tool", "function"})
_RESULTS: Final = frozenset({"function_call_output", "custom_tool_call_output", "tool_result"})


def count_tool_retries(parts: Sequence[Any], dump: Callable[[Any], bytes]) -> int:
    """Count the calls of tools in the last turn that the turns before it made too, with the same arguments.

    A model asks for a tool, gets its result or an error, and asks for exactly the same again. The request that brings
    the second result tells it, so that each repetition counts once. Only calls since the last question are compared.

    Args:
        parts: Messages or items of a request, as OpenAI's two APIs, Anthropic's and Gemini's have them.
        dump: Makes JSON of arguments that are no text.
    """
    if not parts or not _kinds(parts[-1], dump)[1]:
        return 0
    latest: list[tuple[str, str | bytes]] = []
    before: set[tuple[str, str | bytes]] = set()
    is_latest, has_calls = True, False
    for part in reversed(parts[-_LOOKED_AT:]):
        calls, is_result = _kinds(part, dump)
        if calls:
            has_calls = True
            if is_latest:
                latest += calls
            else:
                before.update(calls)
        elif is_result:
            is_latest = is_latest and not has_calls
        elif not _is_thought(part):
            break
    return sum(call in before for call in latest)


def _kinds(part: Any, dump: Callable[[Any], bytes]) -> tuple[list[tuple[str, str | bytes]], bool]:
    """Return the calls of tools in a part of a request, and whether it is results of tools."""
    seen = _look(part)
    if seen.get("role") in _RESULT_ROLES:
        return [], True
    kind = seen.get("type")
    if kind in _RESULTS:
        return [], True
    if kind in _CALLS:
        return [_call(seen, dump)], False
    calls = [_call(_look(call).get("function") or call, dump) for call in seen.get("tool_calls") or ()]
    content = seen.get("content")
    if not isinstance(content, list | tuple):
        return calls, False
    blocks = [_look(block) for block in content]
    # Gemini's parts have no type.
    called = [block.get("functionCall") or block.get("function_call") for block in blocks]
    calls += [_call(block, dump) for block in blocks if block.get("type") in _CALLS]
    calls += [_call(call, dump) for call in called if call]
    return calls, any(
        block.get("type") in _RESULTS or block.get("functionResponse") or block.get("function_response")
        for block in blocks
    )


def _is_thought(part: Any) -> bool:
    return _look(part).get("type") == "reasoning"


def _call(seen: Any, dump: Callable[[Any], bytes]) -> tuple[str, str | bytes]:
    called = _look(seen)
    given = next((called[field] for field in ("arguments", "input", "args") if called.get(field) is not None), "")
    return str(called.get("name")), given if isinstance(given, str) else dump(given)


def _look(part: Any) -> Mapping[str, Any]:
    seen: Mapping[str, Any] = part if type(part) is dict else view(part)
    return seen
