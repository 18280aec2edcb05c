"""Calls of tools in an answer that cost something by themselves, counted by kind of unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pricing.names import bare_name
from pricing.reported import Report

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

_Units = dict[str, "int | Decimal"]

# Kinds of item in an answer of OpenAI's Responses API, which xAI speaks too.
_ITEMS = {
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "x_search_call": "x_search",
    "image_generation_call": "image_generation",
    "collections_search_call": "collections_search",
}
# Items that run in a container, whose session is charged, by the tool that asks for it.
_IN_CONTAINER = {"code_interpreter_call": "code_interpreter", "shell_call": "shell"}
# What usage calls them: Anthropic, xAI, Perplexity, Mistral.
_REPORTED = {
    "web_search_requests": "web_search",
    "web_fetch_requests": "web_fetch",
    "web_search_calls": "web_search",
    "x_search_calls": "x_search",
    "code_interpreter_calls": "code_execution",
    "code_execution_calls": "code_execution",
    "file_search_calls": "collections_search",
    "document_search_calls": "file_search",
    "collections_search_calls": "collections_search",
    "web_search": "web_search",
    "web_search_premium": "web_search:premium",
    "code_interpreter": "code_execution",
    "image_generation": "image_generation",
    "document_library": "collections_search",
}
# Searches that pages of a result are opened with; only "search" itself is charged.
_FREE_ACTIONS = frozenset({"open_page", "find", "find_in_page"})
_BILLS_EACH_PROMPT = ("gemini-1.5", "gemini-2")


def count_tools(answer: Any, model: str = "") -> _Units:
    """Count the billed calls of tools in a whole answer.

    Args:
        answer: An answer of OpenAI's Responses API (its items and the tools it repeats), of Gemini (what it was
            grounded with), or of a chat model that always searches; None for none.
        model: Model that answered.
    """
    if answer is None or (type(answer) is dict and "-search-" not in model and not _may_have_called(answer)):
        return {}
    report = Report(answer, [])
    items = report.get("output")
    units = count_items(items, report.get("tools")) if items else {}
    if "candidates" in report:
        units |= _count_grounding(report, model)
    name = bare_name(model) if "-search-" in model else ""
    if name and report.get("object") in ("chat.completion", "chat.completion.chunk"):
        if "search-preview" in name:
            units["web_search:preview"] = 1
        elif "search-api" in name:
            units["web_search"] = 1
    return units


def _may_have_called(answer: dict[str, Any]) -> bool:
    """Whether an answer has the parts that tell calls of tools; most have none, and are not read at all."""
    return bool(answer.get("output")) or "candidates" in answer


def count_items(items: Any, tools: Any = ()) -> _Units:
    """Count the items of an answer that are billed calls.

    Args:
        items: Items of `output`, or the names of their types.
        tools: Tools of the request, or the names of their types: they tell the version of a search and the size of a
            container.
    """
    asked = [_as_item(tool) for tool in _each(tools)]
    kinds = {str(tool.get("type")) for tool in asked}
    is_preview = any(kind.startswith("web_search_preview") for kind in kinds) and not any(
        kind == "web_search" or kind.startswith("web_search_2") for kind in kinds
    )
    units: _Units = {}
    sessions: dict[str, str] = {}
    for entry in map(_as_item, _each(items)):
        kind = str(entry.get("type"))
        if kind in _IN_CONTAINER:
            session = _session(entry, asked)
            if session is not None:
                sessions.setdefault(session, _container(asked, _IN_CONTAINER[kind]))
        unit = _ITEMS.get(kind)
        if unit is None or entry.get("status") == "failed":
            continue
        if unit == "web_search":
            if str(entry.under("action").get("type")) in _FREE_ACTIONS:
                continue
            unit = "web_search:preview" if is_preview else unit
        units[unit] = units.get(unit, 0) + 1
    named = {session: container for session, container in sessions.items() if session}
    for container in (named or sessions).values():  # calls without an id share one session
        units[container] = units.get(container, 0) + 1
    return units


def count_reported_tools(report: Report, model: str = "") -> _Units:
    """Count the calls of tools that usage itself tells."""
    units: _Units = {}
    for name in ("server_tool_use", "server_side_tool_usage_details", "connectors"):
        if name not in report:
            continue
        for kind, count in report.counts(name).items():
            unit = _REPORTED.get(kind)
            if unit is not None and count:
                units[unit] = units.get(unit, 0) + count
    queries = report.count("num_search_queries")
    if queries and "deep-research" in model:  # the other models of Perplexity's charge by the request
        units["web_search"] = queries
    if "tool_calls_details" in report:
        calls = report.under("tool_calls_details").under("search_web").count("invocation")
        if calls:
            units["web_search"] = calls
    return units


def _count_grounding(report: Report, model: str) -> _Units:
    """Gemini 2 bills a grounded answer once, whatever it searched; Gemini 3 each search."""
    queries = maps = 0
    for candidate in report.items("candidates"):
        grounding = candidate.under("grounding_metadata")
        found = grounding.get("web_search_queries")
        queries += len(found) if isinstance(found, list | tuple) else 0
        maps += any("maps" in chunk for chunk in grounding.items("grounding_chunks"))
    name = bare_name(model)
    units: _Units = {}
    if queries:
        units["web_search"] = 1 if name.startswith(_BILLS_EACH_PROMPT) else queries
    if maps:
        units["maps_grounding"] = 1
    return units


def _session(call: Report, tools: Iterable[Report]) -> str | None:
    """Return the container of a call, "" for one without a name; None where it ran on the customer's own machine."""
    place = call.under("environment")
    if not place:
        place = next((tool.under("environment") for tool in tools if tool.get("type") == "shell"), place)
    if place.get("type") == "local" and call.get("type") == "shell_call":
        return None
    container = call.get("container_id") or place.get("container_id")
    return container if isinstance(container, str) else ""


def _container(tools: Iterable[Report], kind: str) -> str:
    """Return the unit of a session by the size that the request asked for."""
    for tool in tools:
        if tool.get("type") == kind:
            limit = tool.under("container", "environment").get("memory_limit")
            if isinstance(limit, str) and limit.isalnum() and limit.lower() != "1g":
                return f"container:{limit.lower()[:10]}"
    return "container"


def _each(items: Any) -> Iterable[Any]:
    return items if isinstance(items, list | tuple) else ()


def _as_item(item: Any) -> Report:
    return Report({"type": item} if isinstance(item, str) else item, [])
