"""Tables: their columns and how these read. Sums become floats for display alone; the CSV keeps them exact."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import streamlit as st

from dashboard.panels.call_links import calls_address, filter_of
from dashboard.panels.cards import Bar, draw_bars, name_of, share_of
from dashboard.panels.rankings import cost_bars
from ingest.documents.cells import safe_text
from ingest.documents.words import DASH, format_change, format_count, format_usd, format_usd_column, sum_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pandas.io.formats.style import Styler
    from pydantic import BaseModel

    from dashboard.selection.filters import Selection
    from ingest.documents.calls import Call
    from ingest.documents.pages import Row, SpeedRow

MOST_EXPORTED: Final = 200_000
"""Most calls of a file from the page, which the browser takes in one piece; `treering export` writes any number."""

_ROW_HEIGHT_PX: Final = 35
_COUNT: Final = "localized"
_PERCENT: Final = "%.1f%%"


def cost_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Return the columns of a cost ranking: name, cost, share and change in percent, requests, cost_per_request."""
    whole = float(sum(row.cost or 0 for row in rows))
    return pd.DataFrame(
        [
            {
                "name": name_of(row.key, is_other=row.is_other, keys=row.keys),
                "cost": _number(row.cost),
                "share": float(row.cost) / whole * 100 if row.cost is not None and whole else None,
                "change": _change(row),
                "requests": row.requests,
                "cost_per_request": _number(row.cost_per_request),
            }
            for row in rows
        ],
        columns=["name", "cost", "share", "change", "requests", "cost_per_request"],
    )


def usage_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Return the columns of a usage ranking; the share of tokens, cached input and errors in percent."""
    whole = sum(row.total_tokens for row in rows)
    return pd.DataFrame(
        [
            {
                "name": name_of(row.key, is_other=row.is_other, keys=row.keys),
                "requests": row.requests,
                "share": row.total_tokens / whole * 100 if whole else None,
                "prompt_tokens": row.prompt_tokens,
                "completion_tokens": row.completion_tokens,
                "cached": row.cached_tokens / row.prompt_tokens * 100 if row.prompt_tokens else None,
                "errors": row.errors / row.requests * 100 if row.requests else None,
            }
            for row in rows
        ],
        columns=["name", "requests", "share", "prompt_tokens", "completion_tokens", "cached", "errors"],
    )


def speed_frame(rows: Sequence[SpeedRow], *, is_route: bool = False) -> pd.DataFrame:
    """Return the columns of a speed ranking; durations in milliseconds."""
    frame = pd.DataFrame(
        [
            {
                "name": name_of(row.key, is_other=row.is_other),
                "method": row.method,
                "requests": row.requests,
                "errors": row.errors / row.requests * 100 if row.requests else None,
                "p50": row.latency_p50_ms,
                "p90": row.latency_p90_ms,
                "p99": row.latency_p99_ms,
                "first_p50": row.time_to_first_token_p50_ms,
                "first_p90": row.time_to_first_token_p90_ms,
            }
            for row in rows
        ],
        columns=["name", "method", "requests", "errors", "p50", "p90", "p99", "first_p50", "first_p90"],
    )
    return frame.drop(columns=["first_p50", "first_p90"] if is_route else ["method"])


def draw_costs(page: str, label: str, rows: Sequence[Row], selection: Selection) -> int | None:
    """Draw a cost ranking, on a phone as lines with bars; return which row is chosen."""
    _draw_lines(page, cost_bars(rows), rows, (label, "Cost, share"), selection)
    frame = cost_frame(rows)
    number = st.column_config.NumberColumn
    costs = [row.cost for row in rows]
    texts = {
        "cost": format_usd_column(costs, sum_of(costs)),
        # What one call costs differs by orders of magnitude between models.
        "cost_per_request": [format_usd(row.cost_per_request) for row in rows],
        "change": [format_change(row.cost, row.previous_cost) or DASH for row in rows],
    }
    return _draw(
        f"{page}_table_{label.lower()}",
        frame,
        {
            "name": st.column_config.TextColumn(label, width="medium"),
            "cost": number("Cost"),
            "share": st.column_config.ProgressColumn("Share", format=_PERCENT, min_value=0, max_value=100),
            "change": number("Change", help="Compared with the earlier period"),
            "requests": number("Requests", format=_COUNT),
            "cost_per_request": number("Per priced request"),
        },
        texts,
    )


def draw_usage(page: str, label: str, rows: Sequence[Row], selection: Selection) -> int | None:
    """Draw a usage ranking, on a phone as lines with bars; return which row is chosen."""
    whole = sum(row.total_tokens for row in rows)
    bars = [
        Bar(
            name_of(row.key, is_other=row.is_other, keys=row.keys),
            format_count(row.total_tokens),
            share_of(row.total_tokens, whole),
            row.is_other,
        )
        for row in rows
    ]
    _draw_lines(page, bars, rows, (label, "Tokens, share"), selection)
    number = st.column_config.NumberColumn
    return _draw(
        f"{page}_table_{label.lower()}",
        usage_frame(rows),
        {
            "name": st.column_config.TextColumn(label, width="medium"),
            "requests": number("Requests", format=_COUNT),
            "share": st.column_config.ProgressColumn("Share of tokens", format=_PERCENT, min_value=0, max_value=100),
            "prompt_tokens": number("Prompt tokens", format=_COUNT),
            "completion_tokens": number("Completion tokens", format=_COUNT),
            "cached": number("Cached input", format=_PERCENT, help="Share of prompt tokens that were cached"),
            "errors": number("Errors", format="%.2f%%"),
        },
    )


def draw_speed(page: str, label: str, rows: Sequence[SpeedRow], *, is_route: bool = False) -> int | None:
    """Draw a speed ranking, of calls or of routes; return which row is chosen, None of routes."""
    number = st.column_config.NumberColumn
    return _draw(
        f"{page}_table_{label.lower()}",
        speed_frame(rows, is_route=is_route),
        {
            "name": st.column_config.TextColumn(label, width="medium"),
            "method": st.column_config.TextColumn("Method", width="small"),
            "requests": number("Requests", format=_COUNT),
            "errors": number("Errors", format="%.2f%%"),
            "p50": number("p50 (ms)", format="%,.0f"),
            "p90": number("p90 (ms)", format="%,.0f"),
            "p99": number("p99 (ms)", format="%,.0f"),
            "first_p50": number("First token p50 (ms)", format="%,.0f"),
            "first_p90": number("First token p90 (ms)", format="%,.0f"),
        },
        is_chosen_from=not is_route,
    )


def to_csv(rows: Sequence[BaseModel]) -> bytes:
    """Write a document's rows as CSV: exact sums, full counts, UTC times; safe to open in a spreadsheet."""
    lines = [
        {key: _cell(value, getattr(row, key)) for key, value in row.model_dump(mode="json").items()} for row in rows
    ]
    frame = pd.DataFrame(lines, dtype="object")
    return frame.to_csv(index=False).encode()


def write_calls(pages: Iterable[Sequence[Call]], report: Callable[[int], None]) -> tuple[bytes, int]:
    """Write calls as CSV while they are read; return the file and how many calls it has.

    Args:
        pages: Calls in their order, page by page.
        report: Told after each page how many calls were read.
    """
    file, count = io.BytesIO(), 0
    for page in pages:
        kept = page[: MOST_EXPORTED - count]
        text = to_csv(kept) if kept or not count else b""
        file.write(text if not count else text.partition(b"\n")[2])
        count += len(kept)
        report(count)
        if count >= MOST_EXPORTED:
            break
    return file.getvalue(), count


def draw_download(page: str, name: str, rows: Sequence[BaseModel]) -> None:
    """Draw the button that saves a table as CSV."""
    st.download_button(
        "CSV",
        to_csv(rows),
        file_name=f"treering-{name}.csv",
        mime="text/csv",
        key=f"{page}_csv_{name}",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
        help="Download this table",
    )


def _draw_lines(
    page: str, bars: Sequence[Bar], rows: Sequence[Row], heads: tuple[str, str], selection: Selection
) -> None:
    """Draw what a phone shows in place of the table; the style sheet shows one of both."""
    name = filter_of(heads[0])
    linked = [
        replace(bar, address=calls_address(selection, **{name: row.key})) if row.key and not row.is_other else bar
        for bar, row in zip(bars, rows, strict=True)
    ]
    with st.container(key=f"narrow_{page}"):
        draw_bars(linked, heads)


def _draw(
    key: str,
    frame: pd.DataFrame,
    config: Mapping[str, Any],
    texts: Mapping[str, Sequence[str]] | None = None,
    *,
    is_chosen_from: bool = True,
) -> int | None:
    """Draw a table; `texts` are how the cells of a column read that no format of Streamlit's can write."""
    names = [str(name) for name in frame["name"]]
    if is_chosen_from:
        _keep_choice(key, names)
    # A table that a phone shows as lines stands in a container that the style sheet hides there.
    box = st.container(key=f"wide_{key}")
    shown: Any = box.dataframe(
        written(frame, texts) if texts else frame,
        key=key,
        hide_index=True,
        width="stretch",
        height="content",
        row_height=_ROW_HEIGHT_PX,
        column_config={name: config[name] for name in frame.columns},
        placeholder="—",
        on_select=(lambda: _take_choice(key, names)) if is_chosen_from else "ignore",
        selection_mode="single-row",
    )
    rows: list[int] = shown.selection.rows if is_chosen_from else []
    return rows[0] if rows else None


def written(frame: pd.DataFrame, texts: Mapping[str, Sequence[str]]) -> Styler:
    """Return a table whose numbers read as given, and are sorted by as numbers."""

    def write(known: Mapping[Any, str]) -> Callable[[Any], str]:
        return lambda value: known.get(value, DASH)

    return frame.style.format(
        {name: write(dict(zip(frame[name], column, strict=True))) for name, column in texts.items()}
    )


def _keep_choice(key: str, names: Sequence[str]) -> None:
    """Choose again the row that was chosen, wherever it stands now: Streamlit keeps its place and not its name."""
    chosen = st.session_state.get(f"{key}_name")
    rows = [names.index(chosen)] if chosen in names else []
    state = st.session_state.get(key)
    if rows or (state is not None and state["selection"]["rows"]):
        st.session_state[key] = {"selection": {"rows": rows}}


def _take_choice(key: str, names: Sequence[str]) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    st.session_state[f"{key}_name"] = names[rows[0]] if rows and rows[0] < len(names) else None


def _number(amount: object) -> float | None:
    return None if amount is None else float(str(amount))


def _change(row: Row) -> float | None:
    if row.cost is None or not row.previous_cost:
        return None
    return float((row.cost - row.previous_cost) / row.previous_cost * 100)


def _cell(value: object, exact: object) -> object:
    if isinstance(exact, Decimal):
        return f"{exact:f}"  # without an exponent, which spreadsheets round
    if isinstance(value, str):
        return safe_text(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
