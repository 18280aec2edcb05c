"""The editor of members in Settings. Only ops see them; the database refuses everyone else anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.panels.cards import draw_title
from dashboard.panels.changes import attempt, change, start_over
from dashboard.panels.chooser import Entry, choose_saved, draw_chooser, open_list
from dashboard.reads.settings import add_member, remove_member

if TYPE_CHECKING:
    from dashboard.reads.viewer import Viewer
    from ingest.documents.settings import Member

ROLES: Final = {
    "member": "Member: own calls",
    "tenant": "Tenant: the calls of one tenant",
    "analyst": "Analyst: all calls",
    "ops": "Ops: all calls, and changes settings",
}


def draw_members(viewer: Viewer, members: tuple[Member, ...]) -> None:
    """Draw who has which role beside the editor of the one who is chosen, or of a new person."""
    left, right = open_list("member")
    with left:
        entries = [
            Entry(index, member.user_id, _words(member), _badges(viewer, member))
            for index, member in enumerate(members)
        ]
        number = draw_chooser("member", entries, "New member")
    with right:
        if number is None:
            _draw_new(viewer)
        else:
            _draw_member(viewer, members[number], number)


def _badges(viewer: Viewer, member: Member) -> tuple[tuple[str, str], ...]:
    return (("blue", "You"),) if member.user_id == viewer.user_id else ()


def _words(member: Member) -> str:
    return f"Tenant: the calls of {member.tenant_id}" if member.tenant_id else ROLES.get(member.role, member.role)


def _draw_tenant(key: str, tenant_id: str | None = None) -> str | None:
    """Draw the field of the tenant, which the role tenant needs and no other has."""
    text = st.text_input("Tenant id", tenant_id, key=key, max_chars=200, placeholder="For the role tenant only")
    return (text or "").strip() or None


def _is_whole(role: str, tenant_id: str | None) -> bool:
    if (role == "tenant") == (tenant_id is not None):
        return True
    st.error("Enter a tenant id for the role tenant, and for no other.")
    return False


def _draw_role(key: str, role: str = "member") -> str:
    return st.selectbox("Role", list(ROLES), index=list(ROLES).index(role), format_func=ROLES.__getitem__, key=key)


def _draw_new(viewer: Viewer) -> None:
    draw_title("New member")
    with st.form("settings_member_form", border=False):
        user_id = st.text_input("User id", key="settings_member_user", placeholder="user_2abc", max_chars=200)
        role = _draw_role("settings_member_role")
        tenant = _draw_tenant("settings_member_tenant")
        if st.form_submit_button("Save", type="primary", key="settings_member_save"):
            name = (user_id or "").strip()
            if not name:
                st.error("Enter the user id as it appears in the recorded calls.")
            elif _is_whole(role, tenant) and attempt(
                lambda: add_member(viewer, name, role, tenant), f"{name} is now {role}"
            ):
                choose_saved("member", name)
                start_over("settings_member_user", "settings_member_tenant")


def _draw_member(viewer: Viewer, member: Member, index: int) -> None:
    by = f" by {member.added_by}" if member.added_by else ""
    added = f"Added {member.added_at:%d %b %Y}{by}" if member.added_at else ""
    draw_title(member.user_id, added)
    is_self = member.user_id == viewer.user_id
    with st.form(f"settings_member_{index}_form", border=False):
        role = _draw_role(f"settings_member_{index}_role", member.role if member.role in ROLES else "member")
        tenant = _draw_tenant(f"settings_member_{index}_tenant", member.tenant_id)
        is_saved = st.form_submit_button(
            "Save", type="primary", key=f"settings_member_{index}_save", disabled=is_self,
            help="You cannot change your own role." if is_self else None,
        )  # fmt: skip
    if (
        is_saved
        and _is_whole(role, tenant)
        and attempt(lambda: add_member(viewer, member.user_id, role, tenant), f"{member.user_id} is now {role}")
    ):
        st.rerun()
    st.button(
        "Remove",
        key=f"settings_member_remove_{index}",
        type="tertiary",
        icon=":material/delete:",
        disabled=is_self,
        help="You cannot remove yourself." if is_self else None,
        on_click=change,
        args=(lambda: remove_member(viewer, member.user_id), f"{member.user_id} removed"),
    )
