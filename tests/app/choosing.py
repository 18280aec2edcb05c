"""How a test chooses in the lists of Settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamlit.testing.v1 import AppTest

TABS = {
    "rule": "alert-rules", "budget": "budgets", "route": "on-call", "mute": "on-call", "channel": "channels",
    "report": "reports", "member": "members",
}  # fmt: skip


def choose(app: AppTest, kind: str, number: int | None) -> AppTest:
    """Choose an entry of a list that is drawn, or a new one."""
    if number is None:
        return app.button(key=f"settings_{kind}_chosen_new").click().run()
    return app.radio(key=f"settings_{kind}_chosen").set_value(number).run()


def open_editor(open_app: Callable[..., AppTest], kind: str, number: int | None = None) -> AppTest:
    """Open Settings at the editor of an entry, or of a new one."""
    query = {"list": "mute-times"} if kind == "mute" else {}
    return choose(open_app("settings", tab=TABS[kind], **query), kind, number)
