"""How often the interval of a holdout covers the truth, over populations of several sizes and shares.

400 trials each (`TREERING_BENCH_TRIALS`), and 400 without any effect, with the function that the ledger uses.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from ingest.savings.holdout import measure_holdout
from tests.bench._rows import row
from tests.support.holdout import SUGGESTION, run_trial

if TYPE_CHECKING:
    from collections.abc import Iterator

TRIALS = int(os.environ.get("TREERING_BENCH_TRIALS", "400"))
DAYS = 14
POPULATIONS = ((250, 0.1), (400, 0.1), (1000, 0.1), (400, 0.3))


def run() -> Iterator[dict[str, object]]:
    """Yield coverage of the 90 % interval and the share that is verified without any effect."""
    for users, share in POPULATIONS:
        rng = random.Random(20261126)
        covered = verified = measured = 0
        for _ in range(TRIALS):
            trial = run_trial(rng, effect=rng.uniform(0.05, 0.5), users=users, share=share)
            found = measure_holdout(trial.before, trial.after, SUGGESTION, share=share, unit="call", days=DAYS)
            idle = run_trial(rng, effect=0.0, users=users, share=share)
            nothing = measure_holdout(idle.before, idle.after, SUGGESTION, share=share, unit="call", days=DAYS)
            if found is not None:
                measured += 1
                covered += found.low <= trial.saved / DAYS * 30 <= found.high
            verified += nothing is not None and nothing.is_verified
        name = f"{users} users, {share:.0%} held out"
        yield row(f"{name}: interval covers the truth", 100 * covered / measured, "%")
        yield row(f"{name}: verified without any effect", 100 * verified / TRIALS, "%")
