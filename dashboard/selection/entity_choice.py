"""Which rows of the Customers page the viewer wants to see, and which of them is open. Pure; kept in the address."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from dashboard.selection.filters import TAG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dashboard.selection.filters import Filters

TENANT: Final = "tenant_id"
USER: Final = "user_id"
SESSION: Final = "session_id"
SORTS: Final = {
    "cost": "Cost",
    "change": "Change in US$",
    "change_share": "Change in %",
    "requests": "Requests",
    "cost_per_request": "Cost per request",
    "cost_per_session": "Cost per session",
    "cost_per_day": "Cost per active day",
    "last_seen": "Last call",
    "name": "Name",
}
SESSION_SORTS: Final = {
    "cost": "Cost",
    "requests": "Requests",
    "cost_per_request": "Cost per request",
    "duration": "Length",
    "last_seen": "Last call",
    "name": "Name",
}
PAGE_SIZE: Final = 50
QUERY_KEYS: Final = ("by", "sort", "dir", "search", "page", "of")
_BY: Final = {"customers": TENANT, "users": USER, "sessions": SESSION}
_TAG_WORD: Final = "tag-"
_TAG_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f]{0,200}")
_PAGE: Final = re.compile(r"[1-9][0-9]{0,4}")


@dataclass(frozen=True, slots=True)
class EntityChoice:
    """Everything that is chosen on the Customers page besides period and filters.

    Attributes:
        by: tenant_id, user_id, tags.<name> or session_id; empty for the first that there is.
        sort: A name in `SORTS`, of sessions in `SESSION_SORTS`.
        is_ascending: Whether the smallest comes first.
        search: Part of a name.
        page: Which page of the rows, from 0.
        of: The row whose page is open; empty for the calls without a name, None for the list.
    """

    by: str = ""
    sort: str = "cost"
    is_ascending: bool = False
    search: str = ""
    page: int = 0
    of: str | None = None

    @property
    def sorts(self) -> Mapping[str, str]:
        """What these rows can be ordered by."""
        return SESSION_SORTS if self.by == SESSION else SORTS

    def changed(self, **choices: Any) -> EntityChoice:
        """Return another choice, from its first page on, with no row open."""
        changed = replace(self, **({"page": 0, "of": None} | choices))
        return changed if changed.sort in changed.sorts else replace(changed, sort="cost")

    def sorted_by(self, name: str) -> EntityChoice:
        """Return the same by another column, the largest first; by the same column the other way round."""
        is_turned = name == self.sort
        return self.changed(sort=name, is_ascending=not self.is_ascending if is_turned else name == "name")

    def filters(self, size: int = PAGE_SIZE, offset: int | None = None) -> Filters:
        """Return what to ask `get_entities` for: this page, or so many rows from a place on."""
        start = self.page * PAGE_SIZE if offset is None else offset
        pairs = [
            ("group_by", self.by or TENANT),
            ("order", self.sort),
            ("direction", "asc" if self.is_ascending else "desc"),
            ("search", self.search),
            ("limit", str(size)),
            ("offset", str(start)),
        ]
        return tuple(pair for pair in pairs if pair[1])

    def to_query(self) -> dict[str, str]:
        """Return what differs from the defaults, as the address bar holds it."""
        query: dict[str, str] = {}
        if self.by:
            query["by"] = by_word(self.by)
        if self.sort != "cost":
            query["sort"] = self.sort
        if self.is_ascending:
            query["dir"] = "asc"
        if self.search:
            query["search"] = self.search
        if self.page:
            query["page"] = str(self.page + 1)
        return query if self.of is None else query | {"of": self.of}


def by_word(by: str) -> str:
    """Write what rows are by as an address holds it: customers, users, sessions, tag-plan."""
    return next((word for word, name in _BY.items() if name == by), _TAG_WORD + by.removeprefix(TAG))


def parse_choice(query: Mapping[str, Sequence[str]]) -> EntityChoice:
    """Read a choice from an address's parameters; what is unknown or wrong is left out."""

    def first(name: str) -> str | None:
        return next(iter(query.get(name, ())), None)

    word = first("by") or ""
    tag = word.removeprefix(_TAG_WORD)
    by = _BY.get(word, TAG + tag if word.startswith(_TAG_WORD) and _TAG_NAME.fullmatch(tag) else "")
    choice = EntityChoice(by=by, is_ascending=first("dir") == "asc")
    search, of, page = first("search") or "", first("of"), first("page") or ""
    return replace(
        choice,
        sort=sort if (sort := first("sort")) in choice.sorts and sort else "cost",
        search=search if _TEXT.fullmatch(search) else "",
        page=int(page) - 1 if _PAGE.fullmatch(page) else 0,
        of=of if of is not None and _TEXT.fullmatch(of) else None,
    )
