"""Whose call it is: contexts, generators, tasks and threads in any order."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest import set_usage, usage_context
from ingest.record import context
from ingest.record.context import current_fields, request_scope
from ingest.record.executors import carry_into_executors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator


def user() -> Any:
    """Who a call made here would be billed to."""
    return current_fields().get("user_id")


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    gc.collect()
    assert context._OWNED == {}
    assert user() is None


def numbers(name: str) -> Generator[Any, None, None]:
    with usage_context(user_id=name):
        while True:
            yield user()


async def numbers_async(name: str) -> AsyncGenerator[Any, None]:
    with usage_context(user_id=name):
        while True:
            await asyncio.sleep(0)
            yield user()


def test_an_async_generator_left_by_break_leaves_nothing_behind() -> None:
    async def run() -> None:
        async for found in numbers_async("a"):
            assert (found, user()) == ("a", None)
            break
        assert user() is None
        assert await asyncio.create_task(asyncio.to_thread(user)) is None
        await asyncio.sleep(0.01)  # the loop closes the generator in a task of its own
        assert user() is None

    asyncio.run(run())


def test_interleaved_generators_each_have_their_own() -> None:
    first, second = numbers("a"), numbers("b")
    assert [next(first), next(second), next(first), user()] == ["a", "b", "a", None]
    first.close()
    assert [next(second), user()] == ["b", None]
    second.close()


def test_a_reader_has_its_own_over_which_the_generator_wins() -> None:
    generator = numbers("a")
    next(generator)
    with usage_context(user_id="reader", feature="search"):
        assert (next(generator), user()) == ("a", "reader")
    generator.close()


def test_a_block_within_a_generator_wins_over_the_generator() -> None:
    def generate() -> Iterator[Any]:
        with usage_context(user_id="a", feature="x"):
            yield user()
            with usage_context(user_id="b"):
                yield dict(current_fields())
            yield user()

    generator = generate()
    with usage_context(user_id="reader"):
        assert list(generator) == ["a", {"user_id": "b", "feature": "x"}, "a"]


def test_a_context_manager_made_of_a_generator_hands_its_layer_on() -> None:
    @contextlib.contextmanager
    def acting_as(name: str) -> Iterator[None]:
        with usage_context(user_id=name):
            yield

    @contextlib.asynccontextmanager
    async def acting_as_async(name: str) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        with usage_context(user_id=name):
            yield

    async def run() -> None:
        async with acting_as_async("a"):
            assert user() == "a"
            assert await asyncio.create_task(asyncio.to_thread(user)) == "a"
            with contextlib.ExitStack() as stack:
                stack.enter_context(acting_as("b"))
                assert user() == "b"
            assert user() == "a"

    asyncio.run(run())

    def generate() -> Generator[Any, None, None]:
        with acting_as("c"):
            yield user()

    generator = generate()
    assert (next(generator), user()) == ("c", None)
    generator.close()


def test_each_step_of_a_generator_may_be_made_in_another_context() -> None:
    # As Starlette reads the sync generator of a streamed answer.
    generator = numbers("a")
    found = [contextvars.copy_context().run(next, generator) for _ in range(3)]
    contextvars.copy_context().run(generator.close)
    assert (found, user()) == (["a"] * 3, None)


def test_tasks_that_a_generator_waits_for_are_its_own() -> None:
    async def generate() -> AsyncIterator[list[Any]]:
        async def child() -> Any:
            await asyncio.sleep(0)
            return user()

        with usage_context(user_id="a"):
            for _ in range(2):
                yield [*await asyncio.gather(child(), child()), await asyncio.to_thread(user)]

    async def run() -> None:
        assert [found async for found in generate()] == [["a"] * 3] * 2

    asyncio.run(run())


def test_a_task_that_outlives_its_block_keeps_it() -> None:
    async def run() -> None:
        async def later() -> Any:
            await asyncio.sleep(0.01)
            return user()

        with usage_context(user_id="a"):
            task = asyncio.create_task(later())
        assert user() is None
        assert await task == "a"

    asyncio.run(run())


def test_blocks_left_out_of_order_leave_their_own() -> None:
    first, second = usage_context(user_id="a"), usage_context(user_id="b")
    first.__enter__()
    second.__enter__()
    first.__exit__()
    assert user() == "b"
    second.__exit__()
    assert user() is None


def test_it_is_an_async_context_manager() -> None:
    async def run() -> None:
        async with usage_context(user_id="a"):
            assert user() == "a"
        assert user() is None

    asyncio.run(run())


def test_it_decorates_functions_of_every_kind() -> None:
    @usage_context(user_id="a")
    def plain() -> Any:
        return user()

    @usage_context(user_id="b")
    async def coroutine() -> Any:
        await asyncio.sleep(0)
        return user()

    @usage_context(user_id="c")
    def generator() -> Generator[Any, Any, Any]:
        sent = yield user()
        yield sent, user()
        return "end"

    @usage_context(user_id="d")
    async def async_generator() -> AsyncGenerator[Any, Any]:
        try:
            sent = yield user()
            yield sent, user()
        except KeyError:
            yield "caught", user()

    async def run() -> None:
        assert await coroutine() == "b"
        opened = async_generator()
        assert (await anext(opened), user()) == ("d", None)
        assert await opened.asend("x") == ("x", "d")
        assert await opened.athrow(KeyError) == ("caught", "d")
        with pytest.raises(StopAsyncIteration):
            await anext(opened)
        assert [found async for found in async_generator()] == ["d", (None, "d")]

    assert plain() == "a"
    opened = generator()
    assert (next(opened), user(), opened.send("x")) == ("c", None, ("x", "c"))
    with pytest.raises(StopIteration, match="end"):
        next(opened)
    asyncio.run(run())
    assert (plain.__name__, async_generator.__name__) == ("plain", "async_generator")


@pytest.mark.parametrize("field", ["prompt_tokens", "latency_ms", "event_id", "usr_id"])
def test_what_is_no_context_is_refused(field: str) -> None:
    with pytest.raises(TypeError, match=field):
        usage_context(**{field: 5})
    with pytest.raises(TypeError, match=field):
        set_usage(**{field: 5})


def test_what_is_said_of_a_request_reaches_its_threads_and_tasks_in_both_directions() -> None:
    async def run() -> None:
        with request_scope():
            await asyncio.to_thread(set_usage, user_id="a", metadata={"x": 1})  # as a sync dependency does
            assert set_usage(feature="f", metadata={"y": 2})
            assert dict(current_fields()) == {"user_id": "a", "feature": "f", "metadata": {"x": 1, "y": 2}}
            with usage_context(user_id="b"):
                assert user() == "b"

    asyncio.run(run())


def test_outside_of_a_request_nothing_is_set() -> None:
    assert not set_usage(user_id="a")


def test_a_user_who_becomes_known_late_is_asked_for_where_nobody_is_set() -> None:
    known: list[str] = []
    with request_scope({"feature": "f"}, lambda: known[-1] if known else None):
        assert user() is None
        known.append("a")
        assert dict(current_fields()) == {"feature": "f", "user_id": "a"}
        set_usage(user_id="b")
        assert user() == "b"


def test_executors_run_with_the_fields_of_whoever_submits() -> None:
    carry_into_executors()
    carry_into_executors()

    def generate(pool: ThreadPoolExecutor) -> Iterator[Any]:
        with usage_context(user_id="g"):
            yield pool.submit(user)

    with ThreadPoolExecutor(1) as pool:
        with usage_context(user_id="a"):
            assert pool.submit(user).result() == "a"
            for future in generate(pool):
                assert future.result() == "g"
            assert list(pool.map(lambda _: user(), range(2))) == ["a", "a"]
        assert pool.submit(user).result() is None

        async def run() -> None:
            with usage_context(user_id="b"):
                assert await asyncio.get_running_loop().run_in_executor(pool, user) == "b"

        asyncio.run(run())


NAMES = "abc"
STEP = st.one_of(
    st.tuples(st.just("block"), st.sampled_from(NAMES)),
    st.tuples(st.just("leave"), st.just("")),
    st.tuples(st.just("open"), st.sampled_from(NAMES)),
    st.tuples(st.just("step"), st.integers(0, 3).map(str)),
    st.tuples(st.just("abandon"), st.integers(0, 3).map(str)),
    st.tuples(st.just("task"), st.just("")),
    st.tuples(st.just("thread"), st.just("")),
    st.tuples(st.just("pool"), st.just("")),
)


async def streaming(name: str) -> AsyncGenerator[list[Any], None]:
    """Calls models itself, in tasks and in threads, before each chunk."""

    async def child() -> Any:
        await asyncio.sleep(0)
        return user()

    with usage_context(user_id=name):
        while True:
            made = [user(), *await asyncio.gather(child(), child()), await asyncio.to_thread(user)]
            with usage_context(user_id=f"{name}-inner"):
                made.append(str(user()).removesuffix("-inner"))
            yield made


class Interleaving:
    """Runs steps in one task and remembers each call that was billed to somebody else than its code says."""

    def __init__(self) -> None:
        self.blocks: list[tuple[str, usage_context]] = []
        self.streams: list[tuple[str, Any]] = []
        self.wrong: list[tuple[Any, Any]] = []

    def check(self, expected: Any, *found: Any) -> None:
        self.wrong += [(expected, one) for one in found if one != expected]

    @property
    def mine(self) -> str | None:
        return self.blocks[-1][0] if self.blocks else None

    async def do(self, kind: str, what: str) -> None:
        if kind == "block":
            self.blocks.append((what, usage_context(user_id=what).__enter__()))
        elif kind == "leave" and self.blocks:
            self.blocks.pop()[1].__exit__()
        elif kind == "open":
            self.streams.append((what, streaming(what) if len(self.streams) % 2 else numbers(what)))
        elif kind == "step" and int(what) < len(self.streams):
            name, stream = self.streams[int(what)]
            self.check(name, *(await anext(stream) if hasattr(stream, "__anext__") else [next(stream)]))
        elif kind == "abandon" and int(what) < len(self.streams):
            del self.streams[int(what)]
        elif kind == "task":
            self.check(self.mine, await asyncio.create_task(asyncio.to_thread(user)))
        elif kind == "thread":
            found: list[Any] = []
            copy = contextvars.copy_context()
            thread = threading.Thread(target=lambda: found.append(copy.run(user)))
            thread.start()
            thread.join()
            self.check(self.mine, *found)
        elif kind == "pool":
            self.check(self.mine, await asyncio.get_running_loop().run_in_executor(None, user))
        self.check(self.mine, user())

    async def run(self, steps: list[tuple[str, str]]) -> None:
        try:
            for kind, what in steps:
                await self.do(kind, what)
        finally:
            while self.blocks:
                self.blocks.pop()[1].__exit__()
            self.streams.clear()
            await asyncio.sleep(0)
        self.check(None, user())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tasks=st.lists(st.lists(STEP, max_size=12), min_size=1, max_size=3))
@example(tasks=[[("open", "a"), ("open", "a"), ("step", "1"), ("block", "b"), ("step", "1")]])
def test_no_call_has_anybody_elses_user(tasks: list[list[tuple[str, str]]]) -> None:
    carry_into_executors()
    interleavings = [Interleaving() for _ in tasks]

    async def run() -> None:
        await asyncio.gather(*(one.run(steps) for one, steps in zip(interleavings, tasks, strict=True)))

    asyncio.run(run())
    assert [one.wrong for one in interleavings] == [[]] * len(tasks)
