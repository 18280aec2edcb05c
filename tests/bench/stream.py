"""What tracking adds to a streamed call: per chunk, and to the whole call of the plain openai client beside it.

The two clients take turns before the same local server, and each measurement has its partner next to it, so that what
else the machine does hits both. Beside the time on the wall stands the processor time of the calling thread, which is
what the library itself costs, however busy the machine is.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai

import ingest
from tests.bench._rows import row
from tests.support.openai_server import USAGE, OpenAIServer, Reply, chunk, frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLS = 600
LONG_CALLS = 40
LONG_CHUNKS = 1_000
ASK: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "a message of a conversation " * 8}] * 10,
    "stream": True,
}


def run() -> Iterator[dict[str, object]]:
    """Yield what a chunk and a whole call cost with and without tracking."""
    home = Path(tempfile.mkdtemp(prefix="treering-bench-"))
    try:
        ingest.configure(database=_Memory(), home=home)
        with _serve(LONG_CHUNKS) as clients:
            yield from _measure_chunks(clients)
        with _serve(20) as clients:
            yield from _measure_calls(clients)
        yield from _measure_our_part()
        ingest.shutdown(30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _serve(chunks: int) -> Iterator[dict[str, openai.OpenAI]]:
    """Run a server in a process of its own, so that it takes no turn at this interpreter."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_answer_for_ever, args=(chunks, sender), daemon=True)
    process.start()
    url = receiver.recv()
    try:
        with openai.OpenAI(api_key="k", base_url=url) as plain, openai.OpenAI(api_key="k", base_url=url) as made:
            yield {"plain": plain, "tracked": ingest.track(made)}
    finally:
        process.terminate()
        process.join()


def _answer_for_ever(chunks: int, sender: Any) -> None:
    reply = _reply(chunks)
    with OpenAIServer(*[reply] * 5000) as server:
        sender.send(server.url)
        server.is_over.wait()


class _Memory:
    """A database that forgets."""

    def call(self, function: str, /, **arguments: Any) -> int:
        assert function == "record_usage"
        return len(arguments["events"])

    def close(self) -> None:
        """Nothing to close."""


def _reply(chunks: int) -> Reply:
    """One piece, so that the network's part is as small as it gets."""
    words = [chunk(" word") for _ in range(chunks)]
    body = frames([*words, chunk(finish="stop"), chunk(choices=[], usage=USAGE)])
    return Reply((b"".join(body),))


def _measure_chunks(clients: dict[str, openai.OpenAI]) -> Iterator[dict[str, object]]:
    times = _take_turns(clients, LONG_CALLS, time.thread_time)
    per_chunk = {name: _percentile(taken, 50) / LONG_CHUNKS * 1e6 for name, taken in times.items()}
    yield row(
        "a streamed chunk, processor time, p50",
        per_chunk["tracked"],
        "µs",
        peer="openai",
        peer_value=per_chunk["plain"],
    )
    yield row("added per streamed chunk, processor time, p50", per_chunk["tracked"] - per_chunk["plain"], "µs")


def _measure_calls(clients: dict[str, openai.OpenAI]) -> Iterator[dict[str, object]]:
    for kind, clock in (("wall", time.perf_counter), ("processor", time.thread_time)):
        times = _take_turns(clients, CALLS, clock)
        for percent in (50, 99):
            ours, theirs = (_percentile(times[name], percent) * 1e3 for name in ("tracked", "plain"))
            name = f"{kind} time, p{percent}"
            yield row(f"a streamed call of 20 chunks, {name}", ours, "ms", peer="openai", peer_value=theirs)
            yield row(f"added to a streamed call, difference, {name}", ours - theirs, "ms")


def _measure_our_part() -> Iterator[dict[str, object]]:
    """Time our code alone in a call, without a network: what a noisy machine cannot hide."""
    from openai.types.chat import ChatCompletionChunk

    chunks = [ChatCompletionChunk.model_validate(chunk(" word")) for _ in range(LONG_CHUNKS)]
    ended = [
        ChatCompletionChunk.model_validate(chunk(finish="stop")),
        ChatCompletionChunk.model_validate(chunk(choices=[], usage=USAGE)),
    ]
    plain, tracked = [], []
    for _ in range(LONG_CALLS):
        plain.append(_time(lambda: _read(iter([*chunks, *ended])), time.thread_time))
        tracked.append(_time(lambda: _read(ingest.track_stream(iter([*chunks, *ended]))), time.thread_time))
    added = (_percentile(tracked, 50) - _percentile(plain, 50)) / LONG_CHUNKS * 1e6
    yield row("added per chunk of a stream from memory, processor time, p50", added, "µs")


def _take_turns(clients: dict[str, openai.OpenAI], count: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in clients}
    for number in range(count + count // 10):
        for name, client in clients.items():
            taken = _time(lambda client=client: _read(client.chat.completions.create(**ASK)), clock)  # type: ignore[misc]
            if number >= count // 10:  # the first ones warm everything up
                times[name].append(taken)
    return times


def _read(stream: Any) -> None:
    for _ in stream:
        pass


def _time(call: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    call()
    return clock() - started


def _percentile(times: list[float], percent: int) -> float:
    return sorted(times)[len(times) * percent // 100]
