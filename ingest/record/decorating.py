"""Wraps a function of any kind so that it runs within a context manager."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractContextManager

_Function = TypeVar("_Function", bound="Callable[..., Any]")


def decorate(function: _Function, make: Callable[[], AbstractContextManager[object]]) -> _Function:
    """Wrap `function`; a generator runs within from its first step to its last.

    Args:
        function: Sync, async, or a generator of either kind.
        make: Makes the context manager, once a call.
    """
    if inspect.isasyncgenfunction(function):
        return cast("_Function", _wrap_async_generator(function, make))
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run_async(*arguments: Any, **options: Any) -> Any:
            with make():
                return await function(*arguments, **options)

        return cast("_Function", run_async)
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generate(*arguments: Any, **options: Any) -> Generator[Any, Any, Any]:
            with make():
                return (yield from function(*arguments, **options))

        return cast("_Function", generate)

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        with make():
            return function(*arguments, **options)

    return cast("_Function", run)


def _wrap_async_generator(
    function: Callable[..., Any], make: Callable[[], AbstractContextManager[object]]
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def generate(*arguments: Any, **options: Any) -> AsyncGenerator[Any, Any]:
        with make():
            inner = function(*arguments, **options)
            try:
                step = inner.__anext__()
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        return
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 -- thrown into the generator, as without a wrapper
                        step = inner.athrow(error)
                    else:
                        step = inner.asend(sent)
            finally:
                await inner.aclose()

    return generate
