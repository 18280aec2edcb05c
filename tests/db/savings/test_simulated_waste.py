"""Planted waste is found to within 5 %, each kind alone and all at once, and nothing else is."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ingest.database import fetch
from ingest.documents.savings import Evidence
from ingest.savings.plan import Plan, make_plan
from pricing import PriceBook
from tests.support.events import condense_all, roll_up_all
from tests.support.waste import DAYS, KINDS, START, Simulation, simulate

if TYPE_CHECKING:
    from ingest.database import Database
    from tests.support.doors import Door

BOOK = PriceBook.default()
MONTHS = Decimal(30) / DAYS
EVALUATED = {"long_answers", "long_reasoning", "long_history", "long_context", "smaller_model"}


def load(service: Database, *simulations: Simulation) -> None:
    events = [event for simulation in simulations for event in simulation.events]
    for begin in range(0, len(events), 2000):
        batch: Any = events[begin : begin + 2000]
        assert service.call("record_usage", events=batch) == len(batch)
    roll_up_all(service)
    condense_all(service)
    while True:
        answer: Any = service.call("judge_savings", max_days=20, history_days=400)
        if not answer["waiting"]:
            return


def plan(service: Database, environment: str, **options: Any) -> Plan:
    evidence = fetch(
        service, Evidence, "get_savings_evidence", from_time=START, to_time=START + timedelta(days=DAYS),
        filters={"environment": environment},
    )  # fmt: skip
    assert len(evidence.days) == DAYS
    made = make_plan(evidence, BOOK, **options)
    assert made.unexamined == 0
    # Nothing is saved twice: what is left is never below nothing.
    everything = sum(one.saved_per_month for one in made.suggestions)
    assert everything <= made.spend_per_month
    assert all(one.low <= one.saved_per_month <= one.high for one in made.suggestions)
    return made


def found(made: Plan, sim: Simulation) -> dict[tuple[str, str], Decimal]:
    """What a plan says; a smaller model only where it was planted, for any call could be tried with one."""
    return {
        (one.kind, one.feature or "*"): one.saved_per_month
        for one in made.suggestions
        if one.kind != "smaller_model" or (one.kind, one.feature) in sim.truth
    }


def differences(sim: Simulation, made: Plan) -> dict[tuple[str, str], tuple[Decimal, Decimal]]:
    """What was planted and what was found, where they differ by more than 5 %."""
    planted = {where: amount * MONTHS for where, amount in sim.truth.items()}
    seen = found(made, sim)
    return {
        where: (round(planted.get(where, Decimal(0)), 2), seen.get(where, Decimal(0)))
        for where in planted.keys() | seen.keys()
        if abs(planted.get(where, Decimal(0)) - seen.get(where, Decimal(0))) > planted.get(where, Decimal(0)) / 20
    }


def test_each_kind_alone_is_found_to_within_five_percent_and_nothing_else(direct: Door) -> None:
    service = direct.service()
    alone = [simulate(kind, kind, with_hashes=kind != "session_turns") for kind in KINDS]
    bare = simulate("bare", "shared_beginnings", with_hashes=False)
    clean = [
        simulate(f"clean-{scale}-{with_hashes}", scale=scale, with_hashes=with_hashes)
        for scale in (1, 4)
        for with_hashes in (True, False)
    ]
    load(service, *alone, bare, *clean)
    assert {sim.environment: differences(sim, plan(service, sim.environment)) for sim in (*alone, bare)} == {
        sim.environment: {} for sim in (*alone, bare)
    }
    for sim in clean:
        made = plan(service, sim.environment)
        assert found(made, sim) == {}
        # Of smaller models that could be tried, nothing is a figure of the plan.
        assert {one.kind for one in made.suggestions} <= {"smaller_model"}
        assert made.total() + made.too_small <= made.spend_per_month / 100


def test_a_smaller_model_is_an_interval_that_holds_the_truth_and_needs_an_evaluation(direct: Door) -> None:
    service = direct.service()
    sim = simulate("smaller", "smaller_model")
    load(service, sim)
    planted = {feature: amount * MONTHS for (_, feature), amount in sim.truth.items()}
    seen = {one.feature: one for one in plan(service, "smaller").suggestions if one.feature in planted}
    assert {feature: one.replacement for feature, one in seen.items()} == {
        "classify": "gpt-4.1-mini",
        "route": "gpt-4o",
    }
    for feature, one in seen.items():
        assert one.low <= planted[str(feature)] <= one.high
        assert (one.needs_evaluation, one.confidence) == (True, "low")
    # Another tokenizer is a reason of its own for an interval.
    widths = {feature: (one.high - one.low) / one.saved_per_month for feature, one in seen.items()}
    assert widths["route"] > widths["classify"]


def test_all_kinds_at_once_at_three_sizes_are_each_found_and_counted_once(direct: Door) -> None:
    service = direct.service()
    sizes = [simulate(f"size-{scale}", *KINDS, scale=scale) for scale in (1, 2, 4)]
    load(service, *sizes)
    for sim in sizes:
        # With every kind at once each is a small part of the whole.
        made = plan(service, sim.environment, min_share=Decimal(0))
        assert differences(sim, made) == {}
        by_hand = sum(amount for (kind, _), amount in sim.truth.items() if kind not in EVALUATED) * MONTHS
        assert abs(made.total() - by_hand) <= by_hand / 50
        assert made.total("low") < made.total() < made.total("high")
