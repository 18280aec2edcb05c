"""How the Customers page reads: the rows that the address asks for, or the one whose page is open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.panels import filter_bar
from dashboard.panels.entities import draw_tabs, tabs_of
from dashboard.panels.entity_links import choose, current_choice
from dashboard.panels.frame import View, chosen_zone
from dashboard.panels.states import draw_action, draw_state
from dashboard.reads.entities import compared_with, get_entities
from dashboard.selection.entity_choice import SESSION, TENANT, EntityChoice
from ingest.documents.entities import Entities
from ingest.errors import InvalidArgumentError, TreeringError

if TYPE_CHECKING:
    from dashboard.reads.viewer import Viewer
    from dashboard.selection.filters import Selection, Window

_BY: Final = "customers_by_default"


def is_open(choice: EntityChoice) -> bool:
    """Whether the address names one customer, user or tag value whose page is shown."""
    return choice.of is not None and choice.by not in ("", SESSION)


def only_of(selection: Selection, choice: EntityChoice) -> Selection:
    """Return the same period and filters for the open row alone."""
    return selection.with_filter(choice.by, [choice.of or ""]) if is_open(choice) else selection


def entity_window(selection: Selection) -> Window:
    """Return what to ask the database for now, with what it is compared with."""
    zone, now = chosen_zone(selection), datetime.now(UTC)
    return compared_with(selection.window(now, zone), selection.compare, selection.compared(now, zone))


def read_rows(viewer: Viewer, window: Window) -> Entities:
    """Read the rows that the address asks for; by customer first, where the calls have any, else by user."""
    del window  # it has no comparison yet
    selection, choice = filter_bar.current_selection().without_call_filters(), current_choice()
    asked = entity_window(only_of(selection, choice))
    if is_open(choice):
        return get_entities(viewer, asked, EntityChoice(by=choice.by))
    if choice.by:
        return get_entities(viewer, asked, choice)
    found = get_entities(viewer, asked, replace(choice, by=st.session_state.get(_BY, TENANT)))
    first = next(iter(tabs_of(found.options, found.access)))
    if found.group_by != first:
        st.session_state[_BY] = first
        found = get_entities(viewer, asked, replace(choice, by=first))
    return found


@dataclass(frozen=True)
class EntityView(View[Entities]):
    """The page as one viewer sees it now."""

    @classmethod
    def of(cls, view: View[Entities]) -> EntityView:
        """Return the view of an opened page."""
        return cls(view.key, view.viewer, view.selection, view.zone, view.reader, view.is_grouped, view.refresh_s)

    def earlier(self) -> Entities | None:
        """Return None: the rows come with what they are compared with."""
        return None

    def read(self) -> Entities | None:
        """Read the rows and draw the notes; of sessions that cannot be read say why, and return None."""
        choice = current_choice()
        try:
            found = self._fetch()
        except InvalidArgumentError as error:
            if "single calls" not in str(error) or self.selection.metadata:
                return super().read()
            self._draw_too_many(choice)
            return None
        except TreeringError:  # reported by the same read below
            return super().read()
        asked = self.selection.moments(datetime.now(UTC), self.zone)[0]
        is_cut = found.group_by == SESSION and (found.from_time - asked).total_seconds() > 0
        if is_cut and not found.matched.rows and not choice.search:
            draw_tabs(tabs_of(found.options, found.access), replace(choice, by=SESSION))
            draw_state(
                "customers_archived",
                ":material/inventory_2:",
                "The calls of this period are archived",
                "Sessions are read from single calls. The other tabs show what these calls cost.",
            )
            return None
        document = super().read()
        if document is not None and is_cut:
            day = found.from_time.astimezone(self.zone)
            st.caption(f"Calls before {day.day} {day:%b %Y} are archived: sessions and sums begin there.")
        return document

    def _draw_too_many(self, choice: EntityChoice) -> None:
        is_sessions = choice.by == SESSION
        what = "show sessions" if is_sessions else "order by cost per session"
        box = draw_state(
            "customers_many",
            ":material/stacks:",
            f"Too many calls to {what}",
            "That reads single calls: at most 1 million of a period."
            if is_sessions
            else "That reads single calls: at most 500,000 of a period, and none that are archived.",
        )
        buttons = box.container(horizontal=True, horizontal_alignment="center")
        if is_sessions:
            draw_action(buttons, "Show users", "customers_to_users", choose, choice.changed(by="user_id"))
        else:
            draw_action(buttons, "Order by cost", "customers_to_cost", choose, choice.changed(sort="cost"))
        if (shorter := self.selection.shorter(self.zone)) is not None:
            label = f"Show the last {shorter.phrase}"
            draw_action(buttons, label, "customers_shorter", filter_bar.store_selection, shorter, is_primary=True)
