"""The one table of what can be saved: in which order, how it is called, what it assumes, how the code changes.

A new kind is a function in `ingest.savings.detectors` and a row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ingest.savings.detectors import caching, lengths, models, removal, tiers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.savings.states import ListPrices, State

    Detector: TypeAlias = Callable[[Sequence[State], ListPrices], None]

Level = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Kind:
    """Something that costs money without need.

    Attributes:
        name: As the ledger keeps it.
        title: What to do, with {model}, {feature}, {replacement} in place.
        detect: Changes the states of the calls that it is about.
        assumptions: What must hold for the figure to come true.
        risk: That users notice.
        effort: To change the code.
        needs_evaluation: Whether answers may change, so that the figure is not counted before an evaluation.
        snippet: The change in code.
    """

    name: str
    title: str
    detect: Detector
    assumptions: tuple[str, ...]
    risk: Level
    effort: Level
    needs_evaluation: bool = False
    snippet: str = ""


_REMOVALS: Final = (
    Kind(
        "billed_retries",
        "Stop paying for attempts of {feature} that a retry replaced",
        removal.remove_superseded,
        ("The provider bills an attempt that the client gave up.",),
        "low",
        "medium",
        snippet="client = OpenAI(timeout=120, max_retries=2)  # longer than the slowest answer",
    ),
    Kind(
        "billed_errors",
        "Fix the failing calls of {feature}, which are billed",
        removal.remove_failed,
        ("A failed call gave no answer that was used.",),
        "low",
        "medium",
    ),
    Kind(
        "duplicates",
        "Keep the answers of {feature}: the same prompt comes again",
        removal.remove_repeated,
        ("The same prompt may get the same answer.",),
        "medium",
        "medium",
        snippet="answer = cache.get(prompt_hash) or ask(prompt)  # keep it for some hours",
    ),
    Kind(
        "embedded_again",
        "Keep the vectors of {feature}: the same texts are embedded again",
        removal.remove_embedded_again,
        ("The vector of a text does not change while the model stays.",),
        "low",
        "medium",
        snippet="if store.vector_of(text_hash) is None: store.add(text_hash, embed(text))",
    ),
    Kind(
        "cancelled",
        "End cancelled calls of {feature} before they are paid for",
        removal.remove_cancelled,
        ("Nobody reads the answer of a cancelled call. At the low end only its output is saved.",),
        "low",
        "medium",
        snippet="await stream.close()  # as soon as the client has gone",
    ),
)
_PRICES: Final = (
    Kind(
        "priority_tier",
        "Take {feature} off the priority tier",
        tiers.leave_priority,
        ("Nobody waits: the calls are not streamed and belong to no session.",),
        "low",
        "low",
        snippet='client.responses.create(..., service_tier="default")',
    ),
    Kind(
        "batch",
        "Send {feature} as a batch",
        tiers.send_as_batch,
        ("Nobody waits: the calls come in bursts, are not streamed and belong to no session.",),
        "low",
        "medium",
        snippet='client.batches.create(input_file_id=..., endpoint="/v1/responses", completion_window="24h")',
    ),
    Kind(
        "shared_beginnings",
        "Let {model} read the common beginning of {feature} from the cache",
        caching.cache_shared_beginnings,
        ("Measured by hashes of the prompts. A beginning stays in the cache for 5 to 60 minutes, expected 10.",),
        "low",
        "low",
        snippet='client.responses.create(instructions=FIXED_PART_FIRST, prompt_cache_key="{feature}", ...)',
    ),
    Kind(
        "session_turns",
        "Let {model} read earlier turns of {feature} from the cache",
        caching.cache_session_turns,
        ("Each turn begins with the one before: its history is appended to and not rewritten.",),
        "low",
        "low",
        snippet="messages = [*messages_before, new_message]  # append, and keep the date out of the first message",
    ),
    Kind(
        "unread_cache",
        "Turn the cache off for {model} in {feature}: it costs more than it saves",
        caching.stop_unread_writes,
        ("Prompts go on to be as different as they are.",),
        "low",
        "low",
        snippet='del block["cache_control"]',
    ),
    Kind(
        "cache_lifetime",
        "Write the cache of {feature} for five minutes instead of an hour",
        caching.shorten_lifetimes,
        ("Calls keep the distance that they have.",),
        "low",
        "low",
        snippet='block["cache_control"] = {{"type": "ephemeral", "ttl": "5m"}}',
    ),
    Kind(
        "cheaper_snapshot",
        "Use {replacement} instead of {model}",
        models.use_cheaper_snapshot,
        ("{replacement} answers as well as {model} and with as many tokens: try it before you switch.",),
        "medium",
        "low",
        snippet='model="{replacement}"',
    ),
)
_EVALUATED: Final = (
    Kind(
        "long_answers",
        "Limit the longest answers of {feature}",
        lengths.limit_output,
        ("Answers of more than four times the median need not be that long.",),
        "medium",
        "low",
        needs_evaluation=True,
        snippet="client.responses.create(..., max_output_tokens=...)",
    ),
    Kind(
        "long_reasoning",
        "Lower the reasoning effort of {feature}",
        lengths.limit_reasoning,
        ("Reasoning of twice the visible answer is enough.",),
        "high",
        "low",
        needs_evaluation=True,
        snippet='client.responses.create(..., reasoning={{"effort": "low"}})',
    ),
    Kind(
        "long_history",
        "Summarise long sessions of {feature}",
        lengths.limit_history,
        ("A summary and the last turns fit 8,000 tokens, or four times the first prompt.",),
        "high",
        "high",
        needs_evaluation=True,
        snippet="messages = [summary, *messages[-6:]] if tokens > 8_000 else messages",
    ),
    Kind(
        "long_context",
        "Keep the prompts of {feature} below the long-context price",
        lengths.stay_below_long_context,
        ("What is above the threshold can be left out.",),
        "high",
        "medium",
        needs_evaluation=True,
    ),
    Kind(
        "smaller_model",
        "Evaluate {replacement} instead of {model} for {feature}",
        models.use_smaller_model,
        ("{replacement} answers well enough: only an evaluation can tell.",),
        "high",
        "medium",
        needs_evaluation=True,
        snippet='model="{replacement}"',
    ),
)

KINDS: Final[tuple[Kind, ...]] = (*_REMOVALS, *_PRICES, *_EVALUATED)
"""In the order in which the plan applies them: what is certain first, so that it does not depend on what is not."""

REMOVALS: Final = frozenset(kind.name for kind in _REMOVALS)
"""Kinds that save by making fewer calls, so that a call is no unit of work to compare users by."""
