"""The plan of savings on the Costs page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

from tests.app.price_documents import saving_fact
from tests.app.test_checks import captions
from tests.app.test_pages import last_call, metrics, texts

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
    shown = texts(app)
    assert "realised this month" in shown
    assert "since the start, by 1 verified action" in shown
    assert (
        "Changed on 01 Jan 2026, expected $30.00 a month, measured $30.00 ($25.00 to $35.00) against users held out"
        in shown
    )
    app.toggle(key=f"costs_holdout_{key}").set_value(True).run()
    assert any(f'in_holdout(user_id, "{key}")' in block.value for block in app.code)
    app.button(key=f"costs_accept_{key}").click().run()
    asked = last_call(fake, "decide_saving")
    assert (asked["suggestion_key"], asked["decision"], asked["holdout_share"]) == (key, "accept", "0.1")
    assert date.fromisoformat(asked["accepted_on"])
    app.button(key="costs_reopen_batch/openai/gpt-4.1-mini/night").click().run()
    assert last_call(fake, "decide_saving")["decision"] == "reopen"


def test_what_was_dismissed_leaves_the_plan_and_its_sums(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.has_dismissed = True
    app = open_app("costs")
    assert "Dismissed: pupils &lt;b&gt;notice&lt;/b&gt;" in texts(app)
    assert not [one for one in app.expander if "tutor" in one.label]
    assert "Dismissed actions come to" in captions(app)


def test_analysts_see_the_ledger_and_decide_nothing(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access = "analyst"
    app = open_app("costs")
    assert "realised this month" in texts(app)
    assert not [button for button in app.button if str(button.key).startswith(("costs_accept", "costs_reopen"))]


def test_each_suggestion_can_be_tried_and_fills_the_form(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("costs")
    app.button(key="costs_try_batch/openai/gpt-4.1-mini/digest").click().run()
    assert not app.exception
    # 90 million at 0.40 $ and 3 million at 1.60 $ were paid; a batch is half of it: 20.40 $ in 20 days.
    assert "<b>$40.80</b> as recorded, <b>$20.40</b> with the change, <b>\N{MINUS SIGN}$30.60</b> a month" in texts(app)
    assert app.selectbox(key="costs_what_if_tier").value == "batch"
    assert app.selectbox(key="costs_what_if_about").value == "job"
    assert metrics(app)["Difference"] == "\N{MINUS SIGN}$20.40"
    assert last_call(fake, "get_calls_to_price")["filters"] == {
        "provider": ["openai"], "model": ["gpt-4.1-mini"], "feature": ["digest"],
    }  # fmt: skip


def test_a_what_if_is_asked_kept_shown_beside_what_happened_and_deleted(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("costs")
    app.selectbox(key="costs_what_if_feature").set_value("chat")
    app.selectbox(key="costs_what_if_to").set_value(("openai", "gpt-4.1-mini"))
    app.number_input(key="costs_what_if_completion_share").set_value(50.0)
    app.button(key="costs_what_if_ask").click().run()
    assert not app.exception
    # 31.5 million at 0.40 $ and half of 2.1 million at 1.60 $ a million instead of 189 $.
    assert metrics(app)["Changed"] == "$14.28"
    assert metrics(app)["Difference"] == "\N{MINUS SIGN}$174.72"
    shown = texts(app)
    assert "\N{MINUS SIGN}$262.08 a month" in shown
    assert "12 calls at the fallback price, $2.50, with the change $0.40" in shown
    assert "7 calls without a price, with the change $0.40" in shown
    app.text_input(key="costs_what_if_name").set_value("Mini for chat").run()
    app.button(key="costs_what_if_keep").click().run()
    kept = last_call(fake, "save_scenario")["scenario"]
    assert kept["change"] == {"model": "gpt-4.1-mini", "provider": "openai", "completion_share": "0.5"}
    assert (kept["name"], kept["filters"], kept["units"]) == ("Mini for chat", {"feature": ["chat"]}, 21_000)
    app.run()
    shown = texts(app)
    assert "Kept on 01 Jan 2026 by ana" in shown
    assert "A useful call cost $0.009, expected $0.00068, since then" in shown
    app.button(key="costs_what_if_delete_1").click().run()
    assert fake.scenarios == []


def test_a_question_that_cannot_be_asked_is_explained(open_app: OpenApp) -> None:
    app = open_app("costs")
    app.text_input(key="costs_what_if_user").set_value("user_a")
    app.selectbox(key="costs_what_if_about").set_value("job")
    app.button(key="costs_what_if_ask").click().run()
    assert [error.value for error in app.error] == ["Calls of a user are not judged: choose all calls, or no user."]


def test_members_ask_about_a_week_of_their_own_calls_and_keep_nothing(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access = "member"
    app = open_app("costs")
    assert app.selectbox(key="costs_what_if_days").options == ["Last 7 days"]
    app.button(key="costs_what_if_ask").click().run()
    assert metrics(app)["Difference"] == "$0.00"
    assert not [one for one in app.text_input if one.key in ("costs_what_if_user", "costs_what_if_name")]
