"""What stands out in a call, in sentences. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.documents.words import format_usd

if TYPE_CHECKING:
    from ingest.documents.calls import Call, CallContext

# A median of fewer calls than this says little.
FEWEST_CALLS: Final = 20
# From this many times the median on a call is worth a word, and a reason is one that explains half of it.
_NOTEWORTHY: Final = 2.0


def describe_cost(call: Call, context: CallContext | None) -> str:
    """Say how a call's cost compares with its feature's and why; nothing where that is not known."""
    if context is None or call.estimated_cost is None or not context.median_cost or context.calls < FEWEST_CALLS:
        return ""
    times = float(call.estimated_cost / context.median_cost)
    whose = f"the median of {call.feature}" if call.feature else "the median of calls without a feature"
    text = f"{_times(times)} {whose} ({format_usd(context.median_cost)})"
    reasons = _reasons(call, context, times) if times >= _NOTEWORTHY else []
    return f"{text}, because of {' and '.join(reasons)}." if reasons else f"{text}."


def describe_session(call: Call, context: CallContext | None) -> str:
    """Say where in its session a call stands; nothing for one without."""
    if context is None or not call.session_id or context.session_calls < 1:
        return ""
    cost = f", which cost {format_usd(context.session_cost)} in all" if context.session_cost is not None else ""
    return f"Call {context.session_place:,} of {context.session_calls:,} in its session{cost}."


def _reasons(call: Call, context: CallContext, times: float) -> list[str]:
    found = [
        f"{tokens:,} {kind} tokens"
        for kind, tokens, median in (
            ("prompt", call.prompt_tokens, context.median_prompt_tokens),
            ("completion", call.completion_tokens, context.median_completion_tokens),
        )
        if median and tokens / median >= max(_NOTEWORTHY, times / 2)
    ]
    return found or [f"the price of {call.model}"]


def _times(times: float) -> str:
    digits = 0 if times >= 10 else 1 if times >= 0.1 else 2
    return f"{times:,.{digits}f} \N{MULTIPLICATION SIGN}"
