"""The editor of members in Settings. Only ops see them; the database refuses everyone else anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.panels.cards import draw_title
from dashboard.panels.changes import attempt, change, draw_facts, line, start_over
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
    """Draw who has which role, with an editor for each and one for a new person."""
    for index, member in enumerate(members):
        with line(f"member_{index}"):
            role = ROLES.get(member.role, member.role)
            draw_facts(member.user_id, f"Tenant: the calls of {member.tenant_id}" if member.tenant_id else role)
            is_self = member.user_id == viewer.user_id
            st.button(
                "Remove",
                key=f"settings_member_remove_{index}",
                type="tertiary",
                icon=":material/delete:",
                disabled=is_self,
                help="You cannot remove yourself." if is_self else None,
                on_click=change,
                args=(
                    lambda user_id=member.user_id: remove_member(viewer, user_id),
                    f"{member.user_id} removed",
                ),
            )
    with st.form("settings_member_form"):
        draw_title("Add a person, or change a role")
        left, right = st.columns([3, 2], gap="small")
        user_id = left.text_input("User id", key="settings_member_user", placeholder="user_2abc", max_chars=200)
        role = right.selectbox("Role", list(ROLES), format_func=lambda name: ROLES[name], key="settings_member_role")
        tenant_id = st.text_input(
            "Tenant id", key="settings_member_tenant", max_chars=200, placeholder="For the role tenant only"
        )
        if st.form_submit_button("Save", type="primary", key="settings_member_save"):
            name, tenant = (user_id or "").strip(), (tenant_id or "").strip() or None
            if not name:
                st.error("Enter the user id as it appears in the recorded calls.")
            elif (role == "tenant") != (tenant is not None):
                st.error("Enter a tenant id for the role tenant, and for no other.")
            elif attempt(lambda: add_member(viewer, name, role, tenant), f"{name} is now {role}"):
                start_over("settings_member_user", "settings_member_tenant")
