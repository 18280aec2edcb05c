"""What a product knows about the request it works on, carried to the calls of models made within.

A block of `usage_context` is a layer. Its context (PEP 567) holds the layers in force, and copies of it take them into
tasks and threads. Generators need more, for they share the context of whoever iterates over them: a layer that one
opened would hold for its reader too. So such a layer belongs to the generator's frame. It holds for what the frame
calls, and where a copy has carried it elsewhere, while the frame is at work; not while it is suspended at a `yield`.
A generator that only serves as a context manager (`contextlib`) hands its layers to whoever enters it.
"""

from __future__ import annotations

import contextlib
import sys
from contextvars import ContextVar
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from ingest.notices import Notices
from ingest.record import capture
from ingest.record.fields import ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import CodeType, FrameType

_Function = TypeVar("_Function", bound="Callable[..., Any]")

CONTEXT_FIELDS = frozenset(
    {
        "user_id",
        "model",
        "tenant_id",
        "tags",
        "session_id",
        "feature",
        "environment",
        "provider",
        "operation",
        "service_tier",
        "request_group_id",
        "attempt",
        "metadata",
    }
)
_GENERATOR = 0x20 | 0x200  # inspect.CO_GENERATOR, CO_ASYNC_GENERATOR
_NOTICES = Notices()
_numbers = count()


class Layer:
    """The fields of one block.

    Attributes:
        fields: What it says; replaced, never changed.
        is_request: Whether it is that of a request, which `set_usage` adds to.
        is_active: False once it was left where its context was not at hand.
        owner: The frame of the generator that opened it; None where no generator did.
        within: The layers of generators whose frames were at work when it was opened: it is inside of theirs.
        number: Layers are opened in the order of their numbers.
    """

    __slots__ = ("_late_user", "fields", "is_active", "is_request", "number", "owner", "within")

    def __init__(
        self, fields: dict[str, Any], *, is_request: bool = False, late_user: Callable[[], str | None] | None = None
    ) -> None:
        self.fields = fields
        self.is_request = is_request
        self.is_active = True
        self.owner: FrameType | None = None
        self.within: frozenset[Layer] = frozenset()
        self.number = next(_numbers)
        self._late_user = late_user

    def current(self) -> dict[str, Any]:
        """What it says now: the user of a request may become known while it is answered."""
        if self._late_user is None or self.fields.get("user_id") is not None:
            return self.fields
        user_id = self._late_user()
        return self.fields if user_id is None else {**self.fields, "user_id": user_id}


_CURRENT: ContextVar[tuple[Layer, ...]] = ContextVar("treering_usage", default=())
_OWNED: dict[FrameType, list[Layer]] = {}
_YIELDS: dict[CodeType, frozenset[int]] = {}


class usage_context:  # noqa: N801 -- it is called as a function is
    """Give the model calls made within it their user, session, feature and so on.

    `with`, `async with`, or a decorator of a function: sync, async, or a generator of either kind. Each thread and each
    task has its own; an inner one adds to the outer one and wins over it, `metadata` and `tags` entry by entry. A
    stream keeps what was set when it was opened. In a generator it holds for the generator's own work, not for its
    reader's.

    Args:
        **fields: user_id, tenant_id, tags, session_id, feature, environment, provider, model, operation, service_tier,
            request_group_id, attempt, metadata; see `record_usage`.

    Raises:
        TypeError: A field is none of these.
    """

    def __init__(self, **fields: Any) -> None:
        check_context(fields)
        self._fields = fields
        self._layers: list[Layer] = []

    def __enter__(self) -> usage_context:
        self._layers.append(_enter(Layer(self._fields), sys._getframe(1)))  # noqa: SLF001 -- documented, if not public
        return self

    def __exit__(self, *_: object) -> None:
        _leave(self._layers.pop())

    async def __aenter__(self) -> usage_context:
        self._layers.append(_enter(Layer(self._fields), sys._getframe(1)))  # noqa: SLF001 -- as above
        return self

    async def __aexit__(self, *_: object) -> None:
        _leave(self._layers.pop())

    def __call__(self, function: _Function) -> _Function:
        """Have every call of `function` run within."""
        from ingest.record.decorating import decorate

        return decorate(function, lambda: usage_context(**self._fields))


@contextlib.contextmanager
def request_scope(
    fields: dict[str, Any] | None = None, late_user: Callable[[], str | None] | None = None
) -> Iterator[Layer]:
    """Open the scope of a request, which `set_usage` adds to from any of its threads and tasks.

    Args:
        fields: What holds from the start.
        late_user: Asked for the user, at each call of a model, where nobody set one.
    """
    layer = _enter(Layer(fields or {}, is_request=True, late_user=late_user), None)
    try:
        yield layer
    finally:
        _leave(layer)


def set_usage(**fields: Any) -> bool:
    """Say for the rest of the request who asks, in which session, for which feature and so on.

    Holds for all that the request does, in whatever thread or task: dependencies, the endpoint, the generator of a
    streamed answer, background tasks. `PerformanceMiddleware` opens the scope of a request. A `usage_context` within
    wins over it.

    Args:
        **fields: As of `usage_context`.

    Returns:
        Whether there is a request to say it of; where there is none, nothing is set.

    Raises:
        TypeError: A field is none of `usage_context`.
    """
    check_context(fields)
    scopes = [layer for layer in _CURRENT.get() if layer.is_request]
    for layer in scopes:
        layer.fields = merge(layer.fields, fields)
    if not scopes and capture.is_on():
        _NOTICES.warn("set_usage", "set_usage was called outside of a request: is PerformanceMiddleware added?")
    return bool(scopes)


def current_fields() -> Mapping[str, Any]:
    """Return the fields that hold here."""
    layers = _CURRENT.get()
    if _OWNED:
        layers = _order(layers, _owned_by_callers(sys._getframe(1)))  # noqa: SLF001 -- as above
    elif not layers:
        return {}
    fields: Mapping[str, Any] = {}
    for layer in layers:
        if layer.is_active:
            fields = merge(fields, layer.current()) if fields else layer.current()
    return fields


def carried(work: Callable[..., Any]) -> Callable[..., Any]:
    """Have `work` run elsewhere with the fields that hold here."""
    layers = _CURRENT.get()
    if _OWNED:
        at_work = _order(layers, _owned_by_callers(sys._getframe(1)))  # noqa: SLF001 -- as above
        layers = tuple(layer if layer.owner is None else Layer(layer.fields) for layer in at_work)
    return _Carried(work, layers) if layers else work


class _Carried:
    __slots__ = ("_layers", "_work")

    def __init__(self, work: Callable[..., Any], layers: tuple[Layer, ...]) -> None:
        self._work = work
        self._layers = layers

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        token = _CURRENT.set(self._layers)
        try:
            return self._work(*arguments, **options)
        finally:
            _CURRENT.reset(token)


def merge(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    """Join two sets of fields; the inner ones win."""
    merged = {**outer, **inner}
    for name in ("metadata", "tags"):
        before, after = outer.get(name), inner.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            merged[name] = {**before, **after}
    return merged


def check_fields(fields: Mapping[str, Any]) -> None:
    """Refuse fields that `record_usage` does not accept."""
    unknown = sorted(fields.keys() - ARGUMENTS)
    if unknown:
        raise TypeError(f"record_usage has no argument {', '.join(unknown)}")


def check_context(fields: Mapping[str, Any]) -> None:
    """Refuse what does not describe the circumstances of calls, but one call alone."""
    unknown = sorted(fields.keys() - CONTEXT_FIELDS)
    if unknown:
        raise TypeError(f"{', '.join(unknown)}: the fields of a context are {', '.join(sorted(CONTEXT_FIELDS))}")


def _enter(layer: Layer, opener: FrameType | None) -> Layer:
    owner = _generator_of(opener)
    if _OWNED and opener is not None:
        layer.within = frozenset(_owned_by_callers(opener))
    if owner is not None:
        layer.owner = owner
        _OWNED.setdefault(owner, []).append(layer)
    _CURRENT.set((*(known for known in _CURRENT.get() if known.is_active), layer))
    return layer


def _leave(layer: Layer) -> None:
    layers = _CURRENT.get()
    owner, layer.owner = layer.owner, None
    if layer in layers:
        _CURRENT.set(tuple(other for other in layers if other is not layer))
    else:
        # It was opened in another context, which cannot be changed from here: a generator closed by another task.
        layer.is_active = False
    if owner is not None:
        layer.is_active = False
        owned = _OWNED.get(owner, [])
        if layer in owned:
            owned.remove(layer)
        if not owned:
            _OWNED.pop(owner, None)


def _generator_of(frame: FrameType | None) -> FrameType | None:
    """The frame of the generator on whose behalf a block is opened; None where it is a function's own."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename == contextlib.__file__:
            frame = frame.f_back
        elif not code.co_flags & _GENERATOR:
            return None
        elif frame.f_back is None or frame.f_back.f_code.co_filename != contextlib.__file__:
            return frame
        else:
            frame = frame.f_back  # a context manager: the block is that of whoever enters it
    return None


def _owned_by_callers(frame: FrameType | None) -> list[Layer]:
    """The layers of generators that are at work further up in this thread, outermost first."""
    found: list[list[Layer]] = []
    while frame is not None:
        owned = _OWNED.get(frame)
        if owned:
            found.append(owned)
        frame = frame.f_back
    return [layer for owned in reversed(found) for layer in owned]


def _order(layers: tuple[Layer, ...], at_work: list[Layer]) -> tuple[Layer, ...]:
    """The layers that hold here, outermost first."""
    # A generator that awaits the tasks it has started is at work too, although it is on nobody's stack.
    waiting = [layer for layer in layers if layer.owner is not None and not _is_suspended(layer.owner)]
    at_work = [*at_work, *(layer for layer in waiting if layer not in at_work)]
    held = [layer for layer in layers if layer.owner is None]
    held += at_work

    def depth(layer: Layer) -> tuple[int, bool, int]:
        return len(layer.within.intersection(at_work)), layer in at_work, layer.number

    return tuple(sorted(held, key=depth)) if at_work else tuple(held)


def _is_suspended(frame: FrameType) -> bool:
    """Whether a generator waits at a `yield` for its reader; one that awaits something is at work."""
    code = frame.f_code
    places = _YIELDS.get(code)
    if places is None:
        places = _YIELDS[code] = _find_yields(code)
    return frame.f_lasti in places


def _find_yields(code: CodeType) -> frozenset[int]:
    """Where a generator may be suspended: each YIELD_VALUE whose RESUME says that it is no `await`.

    Which of the two a suspended frame points to depends on Python's version.
    """
    from opcode import opmap

    text = code.co_code
    yield_value, resume = opmap["YIELD_VALUE"], opmap["RESUME"]
    return frozenset(
        place
        for at in range(0, len(text) - 3, 2)
        # 1: after a yield, 2: after a `yield from`, 3: after an await (https://docs.python.org/3/library/dis.html)
        if text[at] == yield_value and text[at + 2] == resume and text[at + 3] & 3 in (1, 2)
        for place in (at, at + 2)
    )
