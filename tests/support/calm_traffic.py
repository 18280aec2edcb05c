"""Traffic in which nothing can be saved: whatever is advised about it is false."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tests.support.waste import Simulation

_INSTRUCTIONS = 1536
_IDLE = timedelta(hours=1)


def add_calm_traffic(sim: Simulation) -> None:
    """Sessions that read their instructions and history from the cache, searches that differ, unbilled failures."""
    begins = [*sim.times(4 * sim.scale, begin_hour=7, hours=14)]
    turns = [_turns(sim, begin) for begin in begins]
    asked = sorted(at for session in turns for at in session)
    # The instructions are in the cache where anybody's call used them in the hour before.
    warm = {later for earlier, later in pairwise(asked) if later - earlier <= _IDLE}
    for number, session in enumerate(turns):
        hashes: dict[int, str] = {}
        history = 0
        for turn, at in enumerate(session):
            prompt, completion = _INSTRUCTIONS + history + sim.length(80), sim.length(200)
            cached = (history + _INSTRUCTIONS) // 128 * 128 if turn or at in warm else 0
            sim.call(
                at, "chat", "gpt-4o", prompt, completion, cached_tokens=cached, streamed=True,
                session_id=f"{sim.environment}-{number}", prompt_blocks=_blocks(sim, hashes, prompt),
            )  # fmt: skip
            history = prompt - _INSTRUCTIONS + completion
    for at in sim.times(40 * sim.scale):
        sim.call(at, "search", "gpt-4o-mini", sim.length(700), sim.length(60))
        if sim.rng.random() < 0.02:
            sim.call(at, "search", "gpt-4o-mini", 0, 0, status="error", error_type="RateLimitError")


def _turns(sim: Simulation, begin: datetime) -> list[datetime]:
    times = [begin]
    for _ in range(sim.rng.randrange(1, 5)):
        times.append(times[-1] + timedelta(seconds=sim.rng.uniform(20, 200)))
    return times


def _blocks(sim: Simulation, hashes: dict[int, str], prompt: int) -> str | None:
    """Hashes of a prompt that everybody's instructions and the session's earlier turns begin."""
    if not sim.with_hashes:
        return None
    own = sim.rng.random()
    for position in block_positions(prompt * 4):
        key = "instructions" if position <= _INSTRUCTIONS * 4 else own
        hashes.setdefault(position, sim.hash("block", key, position)[:8])
    return "\\x" + (prompt * 4).to_bytes(4).hex() + "".join(hashes.values())


def block_positions(size: int) -> Iterator[int]:
    """Bytes before each hash of a prompt of this size: from 4,096 in eight even steps to each doubling."""
    number = 0
    while number < 63:
        position = 4096 * 2 ** (number // 8) * (8 + number % 8) // 8
        if position > size:
            return
        yield position
        number += 1
