"""The cases of usage_shapes.jsonl: what a provider reported, and what it costs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

# Figures that a row of our own will bring; the cases are about counts, and say with which figures they were worked out.
ROWS: list[dict[str, Any]] = [
    {
        "provider": "mistral",
        "models": ["mistral-large-latest"],
        "rates": {"input": "0.5", "cached_input": "0.05", "output": "1.5"},
    }
]
_OPERATIONS = {"audio.transcriptions": "transcription", "messages": "chat", "converse": "chat", "record_usage": "chat"}


@dataclass(frozen=True)
class Case:
    """One answer.

    Attributes:
        id: Name.
        line: The line of the file.
    """

    id: str
    line: dict[str, Any]

    @property
    def cost(self) -> Decimal | None:
        said = self.line["cost_usd"]
        return None if said is None else Decimal(said)

    @property
    def operation(self) -> str:
        door = self.line["door"]
        return str(_OPERATIONS.get(door, door))

    @property
    def is_recorded_by_hand(self) -> bool:
        return bool(self.line["door"] == "record_usage")

    @property
    def answer(self) -> dict[str, Any] | None:
        if "output_items" not in self.line:
            return None
        return {"output": self.line["output_items"], "tools": self.line.get("request_tools", [])}


def _cases() -> list[Case]:
    lines = Path(__file__).with_name("usage_shapes.jsonl").read_text(encoding="utf-8").splitlines()
    return [Case(line["id"], line) for line in map(json.loads, lines)]


CASES = _cases()
