"""Which alerts the viewer wants to see, in which order, which page. Pure; read from and written to the address."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


STATES: Final = {
    "firing": "Firing",
    "unacknowledged": "Unacknowledged",
    "acknowledged": "Acknowledged",
    "silenced": "Silenced",
    "resolved": "Resolved",
}
SEVERITIES: Final = {"critical": "Critical", "warning": "Warning"}
SORTS: Final = {
    "urgent": "Most urgent",
    "newest": "Newest first",
    "oldest": "Oldest first",
    "excess": "Furthest beyond",
    "rule": "By name of rule",
}
PAGE_SIZE: Final = 25
# Most of a file from the page, and of what can be acted on at once.
MOST: Final = 1000
LISTS: Final = ("severity", "rule", "of")
QUERY_KEYS: Final = ("state", *LISTS, "search", "sort", "by")
_MAX_VALUES: Final = 50
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,300}")
_FILTER_OF: Final = {"severity": "severity", "rule": "rule", "of": "group"}


@dataclass(frozen=True, slots=True)
class AlertChoice:
    """Everything that is chosen on the Alerts page besides the period.

    Attributes:
        state: A name in `STATES`; empty for what fires, or for what was resolved while nothing fires.
        severity: Names in `SEVERITIES`; none for all.
        rule: Names of rules; none for all.
        of: What alerts are about, such as a user or a model; none for all.
        search: Part of a rule's name, of what an alert is about, or of a note.
        sort: A name in `SORTS`.
        is_by_rule: Whether the list has a line for each rule in place of each alert.
        page: Which page of the list, from 0.
    """

    state: str = ""
    severity: tuple[str, ...] = ()
    rule: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    search: str = ""
    sort: str = "urgent"
    is_by_rule: bool = False
    page: int = 0

    @property
    def filter_count(self) -> int:
        """How many of the filters behind the button are set."""
        return sum(1 for name in LISTS if getattr(self, name))

    @property
    def is_narrowed(self) -> bool:
        """Whether alerts of the chosen state are left out."""
        return bool(self.filter_count or self.search)

    def changed(self, **choices: Any) -> AlertChoice:
        """Return another choice, from its first page on."""
        return replace(self, **({"page": 0} | choices))

    def cleared(self) -> AlertChoice:
        """Return the same without filters and search."""
        return self.changed(severity=(), rule=(), of=(), search="")

    def filters(
        self, size: int = PAGE_SIZE, offset: int | None = None
    ) -> tuple[tuple[str, str | tuple[str, ...]], ...]:
        """Return what to ask `find_alerts` for: this page, or so many from a place on."""
        pairs: list[tuple[str, str | tuple[str, ...]]] = [("state", self.state or "firing"), ("sort", self.sort)]
        pairs += [(_FILTER_OF[name], values) for name in LISTS if (values := getattr(self, name))]
        if self.search:
            pairs.append(("text", self.search))
        if self.is_by_rule and offset is None:
            pairs.append(("by_rule", "true"))
        start = self.page * PAGE_SIZE if offset is None else offset
        return (*pairs, ("limit", str(size)), ("offset", str(start)))

    def to_query(self) -> dict[str, str | list[str]]:
        """Return what differs from the defaults, as the address bar holds it."""
        query: dict[str, str | list[str]] = {
            name: getattr(self, name)
            for name, default in (("state", ""), ("sort", "urgent"), ("search", ""))
            if getattr(self, name) != default
        }
        query |= {name: list(values) for name in LISTS if (values := getattr(self, name))}
        return query | ({"by": "rule"} if self.is_by_rule else {})


def parse_choice(query: Mapping[str, Sequence[str]]) -> AlertChoice:
    """Read a choice from an address's parameters; what is unknown or wrong is left out."""

    def first(name: str, known: Mapping[str, str], default: str) -> str:
        value = next(iter(query.get(name, ())), default)
        return value if value in known else default

    lists: dict[str, Any] = {
        name: tuple(dict.fromkeys(value for value in query.get(name, ()) if _NAME.fullmatch(value)))[:_MAX_VALUES]
        for name in LISTS
    }
    lists["severity"] = tuple(name for name in lists["severity"] if name in SEVERITIES)
    search = next(iter(query.get("search", ())), "")
    return AlertChoice(
        state=first("state", STATES, ""),
        search=search if _NAME.fullmatch(search) and len(search) <= 200 else "",
        sort=first("sort", SORTS, "urgent"),
        is_by_rule=next(iter(query.get("by", ())), "") == "rule",
        **lists,
    )
