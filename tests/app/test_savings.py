"""The plan of savings on the Costs page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.app.price_documents import saving_fact
from tests.app.test_checks import captions
from tests.app.test_pages import last_call, texts

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]


def test_the_plan_shows_goal_sum_actions_evidence_and_the_change_in_code(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("costs")

    shown, said = texts(app), captions(app)
    assert not app.exception
    # gpt-4o costs 79.80 $ at the contract's 2 and 8 $ instead of 189 $, the digest half of 40.80 $ as a batch:
    # 129.60 $ in 20 days.
    assert "$194.40" in shown
    assert "40% of the spend would be $151.32" in shown.replace("40.0%", "40%")
    assert "Use gpt-4o instead of gpt-4o-2024-05-13" in shown
    assert "Send digest as a batch" in shown
    assert "21,000 calls" in shown
    assert any('model="gpt-4o"' in block.value for block in app.code)
    assert "To evaluate first, in no sum" in said
    assert "Evaluate gpt-4.1-mini instead of gpt-4.1 for tutor" in shown
    assert r"One user (user\_a) makes 50.0% of the spend." in said
    assert "calls?" in shown
    assert "model=gpt-4.1-mini" in shown
    assert last_call(fake, "get_savings_evidence")["filters"] == {}


def test_without_savings_the_page_says_what_was_looked_for(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.has_savings = False
    assert "No savings found." in captions(open_app("costs"))


def test_a_member_gets_a_plan_for_the_own_calls(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access = "member"
    app = open_app("costs")
    assert not app.exception
    assert "Send digest as a batch" in texts(app)


def test_names_from_outside_are_escaped(open_app: OpenApp, fake: FakeDatabase) -> None:
    fact = saving_fact(model="gpt-4.1", feature="<b>{0}", calls=900, prompt_tokens=9_000_000, waste=64, cost="18.00")
    answer = fake._get_savings_evidence
    fake._get_savings_evidence = lambda *arguments, **named: {  # type: ignore[method-assign]
        **answer(*arguments, **named),
        "facts": [fact],
    }
    app = open_app("costs")
    assert not app.exception
    assert "&lt;b&gt;{0}" in texts(app)
    assert "<b>{0}" not in texts(app)


def test_ops_see_what_was_realised_and_decide(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("costs")
    key = "cheaper_snapshot/openai/gpt-4o-2024-05-13/*"
    said = captions(app)
    assert "Realised and verified:" in said
    assert "Verified since 01 Jan 2026, measured" in said.replace("\\", "")
    app.button(key=f"costs_accept_{key}").click().run()
    assert last_call(fake, "decide_saving") == {"suggestion_key": key, "decision": "accept", "reason": None}
    fake.access = "analyst"
    assert not [button for button in open_app("costs").button if "accept" in str(button.key)]
