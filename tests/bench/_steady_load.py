"""A product that records steadily until it is killed: `python -m tests.bench._steady_load HOME RATE`."""

from __future__ import annotations

import random
import sys
import time

import ingest

SEED = 20261124


def main(home: str, rate: int) -> None:
    """Record `rate` calls a second into the database of SUPABASE_DB_URL."""
    source = random.Random(SEED)
    ingest.configure(home=home)
    print("ready", flush=True)
    started, count = time.monotonic(), 0
    while True:
        for _ in range(int((time.monotonic() - started) * rate) - count):
            ingest.record_usage(
                user_id=f"user_{source.randrange(2_000)}",
                model=source.choice(("gpt-4o", "gpt-4o-mini", "o4-mini")),
                feature=f"feature_{source.randrange(20)}",
                prompt_tokens=source.randrange(200, 2_000),
                completion_tokens=source.randrange(20, 500),
                latency_ms=source.lognormvariate(6.5, 0.7),
                time_to_first_token_ms=source.lognormvariate(5.5, 0.5),
                streamed=True,
                status="error" if source.random() < 0.01 else "ok",
            )
            count += 1
        time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
