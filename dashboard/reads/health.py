"""The worst that is wrong with the deployment, for ops."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.reads.connection import fetch_as
from dashboard.reads.viewer import Viewer, viewer_key
from ingest.database.health import judge_deployment, judge_migrations, judge_status
from ingest.documents.deployment import Deployment
from ingest.documents.pipeline import Status
from ingest.errors import TreeringError
from ingest.settings import load_settings

if TYPE_CHECKING:
    from ingest.database.health import Finding

HEALTH_TTL: Final = timedelta(minutes=1)
_TOLD_ELSEWHERE: Final = ("messages", "alert rules")  # `panels.delivery`, to analysts too


@st.cache_data(ttl=HEALTH_TTL, max_entries=64, show_spinner=False, hash_funcs={Viewer: viewer_key})
def get_faults(viewer: Viewer) -> list[Finding]:
    """Return what is wrong, the worst first; nothing for who is not ops, and where it cannot be told.

    What cannot be read here, the page itself reports.
    """
    try:
        deployment = fetch_as(viewer, Deployment, "get_deployment")
        status = fetch_as(viewer, Status, "get_status")
        settings = load_settings()
    except TreeringError:
        return []
    findings = [
        *judge_deployment(deployment, has_key=settings.secret_key is not None),
        judge_migrations(status),
        *judge_status(status, updates_prices=settings.update_prices),
    ]
    # Messages that do not arrive are told apart, to analysts too.
    faults = (one for one in findings if one.level and one.part != "messages")
    return sorted(faults, key=lambda one: -one.level)
