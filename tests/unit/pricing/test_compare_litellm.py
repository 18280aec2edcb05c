from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pricing import PriceBook
from tests.tools.compare_litellm import EVIDENCE, compare, main, read_decisions, read_table

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

AT = datetime(2026, 11, 23, tzinfo=UTC)
AGREEING = {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}


def wheel(folder: Path, table: dict[str, dict[str, object]]) -> Path:
    path = folder / "litellm.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("litellm/model_prices_and_context_window_backup.json", json.dumps(table))
    return path


def kinds(folder: Path, table: dict[str, dict[str, object]]) -> list[tuple[str, str, str]]:
    found = compare(read_table(wheel(folder, table)), PriceBook.default(), "openai", AT)
    return [(one.model, one.rate, one.kind) for one in found if one.kind != "only_ours"]


def test_equal_figures_are_no_difference_and_other_providers_are_left_out(tmp_path: Path) -> None:
    assert kinds(tmp_path, {"gpt-4o": AGREEING, "x": {**AGREEING, "litellm_provider": "acme"}}) == []


def test_each_kind_of_difference_is_named(tmp_path: Path) -> None:
    table = {
        "gpt-4o": {**AGREEING, "output_cost_per_token": 1.1e-05, "output_cost_per_audio_token": 1.0},
        "gpt-4o-new-and-unheard-of": AGREEING,
        "gpt-4o-search-preview": {**AGREEING, "input_cost_per_token_batches": 1e-06},
        "gpt-4o-mini": {"litellm_provider": "openai", "input_cost_per_token_above_5k_tokens": 1e-06},
    }
    assert kinds(tmp_path, table) == [
        ("gpt-4o", "output", "figure"),
        ("gpt-4o", "audio_output", "rate_missing"),
        ("gpt-4o-mini", "", "band_missing"),
        ("gpt-4o-new-and-unheard-of", "", "model_missing"),
        ("gpt-4o-search-preview", "", "tier_missing"),
    ]


def test_the_command_fails_while_a_difference_is_undecided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    undecided = wheel(tmp_path, {"gpt-4o": {**AGREEING, "output_cost_per_token": 1.1e-05}})
    assert main([str(undecided), "--at", "2026-11-23", "--csv", str(tmp_path / "out.csv")]) == 1
    assert "1 without a decision" in capsys.readouterr().err
    assert "gpt-4o,default,0,output,10,11,figure,genai," in (tmp_path / "out.csv").read_text()
    assert main([str(wheel(tmp_path, {"gpt-4o": AGREEING}))]) == 0


def test_every_recorded_difference_has_a_decision_with_evidence() -> None:
    recorded = (EVIDENCE / "litellm-1.109.1.csv").read_text(encoding="utf-8").splitlines()
    names = {decision.name for decision in read_decisions()}
    assert len(recorded) > 1
    assert {line.rsplit(",", 1)[-1] for line in recorded[1:]} <= names
