"""What a contract makes of list prices, by arithmetic done by hand and by properties."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pricing.terms import DaySum, Statement, Term, history_from, make_statement

D1, D2, D3 = (date(2026, 11, day) for day in (1, 2, 3))
END = date(2026, 11, 4)


def usd(text: str) -> Decimal:
    return Decimal(text)


def day_sum(day: date, cost: str, model: str = "gpt-4o", provider: str = "openai", tokens: int = 0) -> DaySum:
    return DaySum(day, provider, model, usd(cost), tokens)


def test_a_discount_is_taken_off_the_list_price_of_its_days() -> None:
    off = Term(1, "discount", D2, D3, provider="openai", percent=usd("12.5"))
    found = make_statement([day_sum(day, "0.000875") for day in (D1, D2, D3)], [off], D1, END)
    # 12.5 % of 0.000875 is 0.000109375, on the second day alone.
    assert [line.discount for line in found.lines] == [0, usd("0.000109375"), 0]
    assert (found.list_cost, found.discount, found.net) == (usd("0.002625"), usd("0.000109375"), usd("0.002515625"))


def test_the_closest_discount_counts_alone() -> None:
    terms = [
        Term(1, "discount", D1, percent=usd("5")),
        Term(2, "discount", D1, provider="openai", percent=usd("10")),
        Term(3, "discount", D1, provider="openai", model="gpt-4o", percent=usd("20")),
        Term(4, "discount", D1, provider="openai", model="gpt-4o", percent=usd("25")),
    ]
    sums = [day_sum(D1, "100"), day_sum(D1, "100", "o3"), day_sum(D1, "100", "claude-x", "anthropic")]
    found = make_statement(sums, terms, D1, END)
    assert {line.model: line.discount for line in found.lines} == {"gpt-4o": 25, "o3": 10, "claude-x": 5}


def test_a_credit_runs_down_and_the_rest_is_due() -> None:
    credit = Term(1, "credit", D1, amount=usd("25"))
    found = make_statement([day_sum(day, "10") for day in (D1, D2, D3)], [credit], D1, END)
    assert [line.drawn for line in found.lines] == [10, 10, 5]
    assert (found.net, found.drawn, found.due) == (usd("30"), usd("25"), usd("5"))
    assert (found.balances[0].left, found.balances[0].runs_out_on) == (usd("0"), None)


def test_a_balance_says_when_it_is_used_up_at_its_pace() -> None:
    credit = Term(1, "commitment", D1, amount=usd("100"))
    (balance,) = make_statement([day_sum(day, "10") for day in (D1, D2, D3)], [credit], D1, END).balances
    # 70 left at 10 a day: seven more days, the 4th to the 10th.
    assert (balance.drawn, balance.left, balance.runs_out_on) == (usd("30"), usd("70"), date(2026, 11, 10))
    # A rest that would last for ten years has no day.
    large = Term(1, "commitment", D1, amount=usd("40000"))
    (balance,) = make_statement([day_sum(day, "10") for day in (D1, D2, D3)], [large], D1, END).balances
    assert balance.runs_out_on is None
    ends = Term(1, "commitment", D1, date(2026, 11, 9), amount=usd("100"))
    (balance,) = make_statement([day_sum(day, "10") for day in (D1, D2, D3)], [ends], D1, END).balances
    assert balance.runs_out_on is None


def test_days_before_the_statement_have_drawn_from_a_balance_too() -> None:
    credit = Term(1, "credit", D1, amount=usd("25"))
    found = make_statement([day_sum(day, "10") for day in (D1, D2, D3)], [credit], D3, END)
    assert history_from([credit], D3) == D1
    assert ([line.day for line in found.lines], found.drawn, found.due) == ([D3], usd("5"), usd("5"))


def test_what_ends_first_is_drawn_first_and_a_refund_goes_back() -> None:
    later, sooner = Term(1, "credit", D1, amount=usd("10")), Term(2, "credit", D1, D3, amount=usd("4"))
    found = make_statement([day_sum(D1, "6"), day_sum(D2, "-1"), day_sum(D3, "3")], [later, sooner], D1, END)
    assert [(one.term.term_id, one.drawn) for one in found.balances] == [(2, usd("3")), (1, usd("5"))]
    assert found.due == 0


def test_provisioned_hours_are_spread_over_their_calls_and_idle_days_cost_too() -> None:
    hours = Term(1, "provisioned", D1, D3, provider="azure", amount=usd("2"))
    sums = [
        day_sum(D1, "10", "gpt-4o", "azure", tokens=300),
        day_sum(D1, "1", "o3", "azure", tokens=100),
        day_sum(D1, "7"),
    ]
    found = make_statement(sums, [hours, Term(2, "discount", D1, percent=usd("10"))], D1, END)
    assert [(line.day, line.model, line.net) for line in found.lines] == [
        (D1, "gpt-4o", usd("36")), (D1, "o3", usd("12")), (D1, "gpt-4o", usd("6.3")), (D2, "", usd("48")),
    ]  # fmt: skip
    # 18 at list, less 0.7, and 96 for two days of hours in place of 11 at list.
    assert (found.list_cost, found.discount, found.provisioned, found.net) == (
        usd("18"),
        usd("0.7"),
        usd("85"),
        usd("102.3"),
    )


def test_shares_of_a_sum_without_a_last_digit_add_up_to_it() -> None:
    hours = Term(1, "provisioned", D1, D2, amount=usd("1"))
    sums = [day_sum(D1, "1", name, tokens=1) for name in ("a", "b", "c", "d", "e", "f", "g")]
    found = make_statement(sums, [hours], D1, END)
    assert (found.net, len(found.lines)) == (usd("24"), 7)


def test_what_is_due_is_converted_at_the_rate_of_each_day() -> None:
    rates = [
        Term(1, "currency", D1, currency="EUR", rate=usd("0.9")),
        Term(2, "currency", D2, currency="EUR", rate=usd("0.8")),
    ]
    found = make_statement([day_sum(D1, "10"), day_sum(D2, "10"), day_sum(D3, "1")], rates, D1, END)
    assert (found.currency, found.due_in_currency, found.due) == ("EUR", usd("17.8"), usd("21"))
    unknown = make_statement([day_sum(D1, "10")], rates[1:], D1, END)
    assert (unknown.currency, unknown.due_in_currency) == ("EUR", None)


amounts = st.decimals(min_value=0, max_value=1000, places=9)
days = st.integers(0, 9).map(lambda number: D1 + timedelta(days=number))
models = st.sampled_from(["gpt-4o", "o3"])
sums_of_days = st.lists(
    st.builds(DaySum, days, st.sampled_from(["openai", "azure"]), models, amounts, st.integers(0, 10**9)), max_size=12,
    unique_by=lambda one: (one.day, one.provider, one.model),
)  # fmt: skip
percents = st.decimals(min_value="0.001", max_value=100, places=3)
discounts = st.builds(
    Term, st.integers(1, 99), st.just("discount"), days, st.none(), st.sampled_from([None, "openai", "azure"]),
    st.one_of(st.none(), models), percents,
)  # fmt: skip
LAST = D1 + timedelta(days=10)


@given(sums_of_days, st.lists(discounts, max_size=4))
def test_net_is_list_less_discounts_exactly(sums: list[DaySum], terms: list[Term]) -> None:
    found = make_statement(sums, terms, D1, LAST)
    assert found.list_cost == sum((one.cost for one in sums), Decimal(0))
    assert found.net == found.list_cost - found.discount == sum((line.net for line in found.lines), Decimal(0))
    assert 0 <= found.discount <= found.list_cost
    assert found.due == found.net


@given(sums_of_days, st.lists(discounts, max_size=2), st.decimals(min_value="0.01", max_value=5000, places=2))
def test_the_draws_of_a_balance_are_the_smaller_of_it_and_the_spend(
    sums: list[DaySum], terms: list[Term], amount: Decimal
) -> None:
    credit = Term(100, "credit", D1, amount=amount)
    found = make_statement(sums, [*terms, credit], D1, LAST)
    assert found.drawn == found.balances[0].drawn == min(amount, found.net)
    assert found.balances[0].left == amount - found.drawn


@given(sums_of_days, st.decimals(min_value="0.01", max_value=100, places=2))
def test_provisioned_hours_cost_the_same_however_they_are_spread(sums: list[DaySum], amount: Decimal) -> None:
    hours = Term(1, "provisioned", D1, amount=amount)
    found = make_statement(sums, [hours], D1, LAST)
    assert found.net == amount * 24 * 10
    assert found.list_cost - found.discount + found.provisioned == found.net


def test_nothing_costs_nothing() -> None:
    assert make_statement([], [], D1, LAST) == Statement(())
