"""Ops see above every page what is wrong with the deployment; nobody else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase


def shown(app: AppTest) -> str:
    bodies = [str(element.proto.body) for element in app.get("html")]
    return next((body for body in bodies if "tr-health" in body and "<style" not in body and "role" in body), "")


def test_a_healthy_deployment_says_nothing(open_app: Callable[..., AppTest]) -> None:
    assert shown(open_app()) == ""


@pytest.mark.parametrize("page", ["overview", "settings"])
def test_ops_see_the_worst_fault_with_its_fix_and_how_many_more_there_are(
    page: str, fake: FakeDatabase, open_app: Callable[..., AppTest]
) -> None:
    fake.faults = {
        "sealed_channels": ["<b>pager"],
        "tables_without_rls": ["members"],
    }
    line = shown(open_app(page))
    assert "tr-health-critical" in line
    assert "<b>Row level security:</b> off for members." in line
    assert "alter table observability_internal.members enable row level security" in line
    assert "1 more" in line


def test_what_others_wrote_is_text(fake: FakeDatabase, open_app: Callable[..., AppTest]) -> None:
    fake.faults = {"sealed_channels": ["<i>pager"]}
    line = shown(open_app())
    assert "&lt;i&gt;pager" in line
    assert "<i>" not in line


@pytest.mark.parametrize("access", ["member", "analyst"])
def test_who_is_not_ops_sees_no_fault(access: str, fake: FakeDatabase, open_app: Callable[..., AppTest]) -> None:
    fake.access = access
    fake.faults = {"tables_without_rls": ["members"]}
    assert shown(open_app()) == ""
