"""Users of an imagined product before and after a change that some of them do not get."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ingest.documents.savings import UserCost
from ingest.savings.split import in_holdout

if TYPE_CHECKING:
    import random

SUGGESTION: Final = "cheaper_snapshot/openai/gpt-4o/*"
BASE: Final = {"chat/chat": 0.01, "tutor/chat": 0.04}


@dataclass(frozen=True, slots=True)
class Trial:
    """What one trial recorded, and what the change truly saved of it, in US dollars."""

    before: list[UserCost]
    after: list[UserCost]
    saved: float


def run_trial(rng: random.Random, *, effect: float, users: int, share: float) -> Trial:
    """Draw users that differ ten-fold in activity and two-fold in what a call costs them; a tenth are new.

    Activity, mix and level move from period to period too. `effect` cuts the cost of those who have the change.
    """
    before: list[UserCost] = []
    after: list[UserCost] = []
    saved = 0.0
    for _ in range(users):
        user = f"user_{rng.getrandbits(60)}"
        is_held = in_holdout(user, SUGGESTION, share=share)
        activity, level, mix = 20 * rng.lognormvariate(0, 1), rng.lognormvariate(0, 0.5), rng.gauss(0.5, 0.25)
        is_new = rng.random() < 0.1
        for rows in (before, after):
            if rows is before and is_new:
                continue
            now = activity * rng.lognormvariate(0, 0.4)
            paid = level * rng.lognormvariate(0, 0.15)
            part = min(max(mix + rng.gauss(0, 0.1), 0), 1)
            for (stratum, base), share_of_calls in zip(BASE.items(), (part, 1 - part), strict=True):
                calls = int(now * share_of_calls)
                if not calls:
                    continue
                cut = effect if rows is after and not is_held else 0.0
                saved += calls * base * paid * cut
                cost = calls * base * paid * (1 - cut) * max(rng.gauss(1, 0.8 / calls**0.5), 0.05)
                rows.append(UserCost.model_construct(
                    user_id=user, stratum=stratum, days=min(calls, 14), calls=calls, cost=Decimal(repr(cost))
                ))  # fmt: skip
    return Trial(before, after, saved)
