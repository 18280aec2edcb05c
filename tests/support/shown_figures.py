"""Reads the figures of a page as it shows them, and says whether such a text is what a figure is."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamlit.testing.v1 import AppTest

_NUMBER: Final = re.compile(r"([-+]?)\$?([0-9,]+(?:\.[0-9]+)?) ?(ms|min|s|h|M|B|%)?")
_SCALE: Final = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "M": 10**6, "B": 10**9}
DASH: Final = "—"


def is_shown(text: str, true: Decimal | float | None) -> bool:
    """Whether a text is a figure to the last digit that it writes; unknown is a dash and nothing else is."""
    if true is None:
        return text == DASH
    plain = text.replace("\u2212", "-")
    if (below := plain.removeprefix("-").startswith("<")) or plain.startswith(">"):
        bound = _read(plain.replace("<", "").replace(">", ""))[0]
        return abs(Decimal(str(true))) < abs(bound) if below else Decimal(str(true)) > bound
    value, last_place = _read(plain)
    return abs(value - Decimal(str(true))) <= last_place * Decimal("0.5001")


def _read(text: str) -> tuple[Decimal, Decimal]:
    found = _NUMBER.fullmatch(text)
    assert found, f"{text!r} is no figure"
    sign, digits, unit = found.groups()
    scale = Decimal(_SCALE.get(unit, 1))
    decimals = len(digits.partition(".")[2])
    return Decimal(sign + digits.replace(",", "")) * scale, Decimal(1).scaleb(-decimals) * scale


def change(now: Decimal | float | None, before: Decimal | float | None) -> Decimal | None:
    """The change in percent; None where it is not known or there is nothing to compare with."""
    if now is None or not before:
        return None
    return (Decimal(str(now)) - Decimal(str(before))) / abs(Decimal(str(before))) * 100


def is_change_shown(text: str, true: Decimal | None) -> bool:
    """Whether a text beside a figure is its change; there is no text where there is nothing to compare with."""
    if true is None:
        return not text
    if "999" in text and abs(true) >= 999:
        return ("-" in text.replace("\u2212", "-")) == (true < 0)
    return bool(text) and is_shown(text, true)


class _Lines(HTMLParser):
    """Collects the texts of the elements with a class."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: list[str] = []
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("i", "br"):
            self.kinds.append(dict(attrs).get("class") or tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("i", "br") and self.kinds:
            self.kinds.pop()

    def handle_data(self, data: str) -> None:
        kind = next((kind for kind in reversed(self.kinds) if kind != "a"), "")
        self.found.append((kind, data))


def bars(app: AppTest) -> list[list[tuple[str, str]]]:
    """The rankings of a page: name and value of each line."""
    return [
        list(zip(_texts(body, "name"), _texts(body, "value"), strict=True))
        for body in _bodies(app)
        if 'class="tr-bars"' in body
    ]


def words(app: AppTest) -> str:
    """Everything that stands in texts of a page."""
    captions = [caption.value for caption in app.caption]
    return "\n".join(re.sub(r"<[^>]+>", " ", body) for body in [*_bodies(app), *captions])


def charts(app: AppTest) -> Iterator[pd.DataFrame]:
    """The rows that the charts draw, of every layer of each."""
    for element in app.main.get("arrow_vega_lite_chart"):
        proto: Any = element.proto
        written = json.loads(proto.spec) if proto.spec else {}
        for rows in written.get("datasets", {}).values():
            yield pd.DataFrame(rows)
        for one in proto.datasets:
            yield pa.ipc.open_stream(one.data.data).read_pandas()


def _bodies(app: AppTest) -> list[str]:
    bodies = (str(element.proto.body) for element in app.main.get("html"))
    return [body for body in bodies if not body.startswith("<style>")]


def _texts(body: str, kind: str) -> list[str]:
    lines = _Lines()
    lines.feed(body)
    return [text for found, text in lines.found if found == kind]
