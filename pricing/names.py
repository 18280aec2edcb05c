"""Names: how a model's name leads to the name that the book prices."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DATED = re.compile(r"(?P<family>.+?)[-@](?:20\d{2}-\d{2}-\d{2}|20\d{6}|latest)$")
_FINE_TUNE: Final = "ft:"


def candidates(
    provider: str, model: str, *, is_provider: Callable[[str], bool], said: bool
) -> Iterator[tuple[str, str, str | None]]:
    """Yield (provider, model, how it follows from the name given), the most exact match first.

    Args:
        provider: Provider, lower case.
        model: Model, lower case.
        is_provider: Whether a word names a provider of the book.
        said: Whether the caller's provider is to be believed against a prefix in the model's name.
    """
    for owner, name, hop in _without_prefix(provider, model, is_provider, said):
        if name.startswith(_FINE_TUNE):
            yield owner, name, hop
            yield from _fine_tune(owner, name, hop)
            continue
        yield owner, name, hop
        dated = _DATED.match(name)
        if dated is not None:
            family = dated["family"]
            yield owner, family, _join(hop, f"snapshot {name!r} is not listed: priced as its family {family!r}")


def _without_prefix(
    provider: str, model: str, is_provider: Callable[[str], bool], said: bool
) -> Iterator[tuple[str, str, str | None]]:
    yield provider, model, None
    prefix, slash, rest = model.partition("/")
    if slash and rest and is_provider(prefix) and (prefix == provider or not said):
        yield prefix, rest, f"provider prefix {prefix!r} taken off"


def _fine_tune(provider: str, name: str, hop: str | None) -> Iterator[tuple[str, str, str | None]]:
    # ft:BASE:organization:suffix:id; never priced as BASE itself, whose tokens are cheaper.
    base = name.split(":")[1]
    step = _join(hop, f"fine-tune of {base!r}")
    yield provider, f"{_FINE_TUNE}{base}", step
    dated = _DATED.match(base)
    if dated is not None:
        yield provider, f"{_FINE_TUNE}{dated['family']}", step


def _join(*steps: str | None) -> str:
    return "; ".join(step for step in steps if step)
