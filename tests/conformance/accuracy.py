"""How right we are, and others: charges the corpus with the price book and with other libraries, and writes the page.

uv run python -m tests.conformance.accuracy [--write docs/accuracy.md] [--langfuse FILE]

The others are fetched by `uv run --with`, each of one release, into an environment of their own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pricing import PriceBook
from tests.conformance.corpus import CHARGED, CORPUS, Case, charged, load
from tests.conformance.evidence import KINDS, count_kinds, count_overlay

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OURS: Final = "Treering"
PEERS: Final = ("genai-prices==0.2.3", "litellm==1.110.2", "tokencost==0.1.26")
NOT_ASKED: Final = "n/a"
# Peers count in floats; a thousandth of a percent is nobody's error.
_TOLERANCE: Final = Decimal("1e-5")
_INTRODUCTION: Final = """# Accuracy

How far off the cost of a call is, by provider and kind of answer, here and elsewhere. The corpus
(`tests/conformance/corpus.jsonl`) holds {answers} answers of {makers} makers as their APIs give them, each with its
counts and its cost by arithmetic: the unit prices stand in the corpus; none is read from the price book.

    uv run python -m tests.conformance.accuracy --write docs/accuracy.md

writes this page and fetches the other libraries itself. A cell says how many answers are right to the last digit
(others compute in floats: to a thousandth of a percent), then the mean error of the others in per cent of the right
cost, and how many had no answer. An answer that must be unknown is right when it has no cost.

**What is compared.** Treering reads the whole answer and charges what it read. The others are handed the right counts
under their own names, so that only their prices and arithmetic count; their reading of answers is not measured, which
favours them. They are told what they have a name for: tokens of every kind, tiers, and genai-prices searches, seconds
and pages too. All of it is part of the right cost. Where the provider states its charge, or nobody can know the cost,
they are not asked ("{not_asked}"). Many answers are of 2025: litellm drops models that were retired, and neither it nor
tokencost knows what a model cost on an earlier day.

**What the book was tuned on.** {tuned} of the answers are of kinds that the price book was corrected for before or
after they were written down (`tuned` in the corpus). On its first run the corpus found 13 wrong costs, and 84 answers
that were added later found more; all were corrected and are among the tuned. Of the {untouched} others,
{untouched_right} are right. A corpus written by the same people as the book shares their blind spots: wrong answers
from outside are welcome as new lines.

**Where the unit prices stand.** The makers' pages could not be opened from where the corpus was made. For each of the
{prices} unit prices, stored copies of pages (`tests/conformance/readings.toml` says what was read, where and when) and
tables of prices were searched; the corpus names in `evidence` who has it. The entries of `pricing/overlay.toml`, which
correct the catalogues, say the same of themselves. What was found, the best of each:

| evidence | unit prices of the corpus | entries of the overlay |
| --- | --- | --- |
{evidence}

    uv run python -m tests.tools.corpus_evidence --write

searches the tables again. A table may have the figure under another tier or band of the model.

**Versions.** {versions}.{langfuse}

"""
_NO_LANGFUSE: Final = (
    " Langfuse's table of models is left out: it is in no package."
    " `--langfuse default-model-prices.json` adds the column."
)
_LANGFUSE: Final = (
    " Langfuse's table is in no package: `--langfuse FILE` reads"
    " `worker/src/constants/default-model-prices.json` of its repository."
    " It has models of OpenAI, Anthropic and Google, tiers by size of the input, and prices of one day."
)


@dataclass(frozen=True, slots=True)
class Score:
    """How one source did on the answers of one class.

    Attributes:
        answers: How many there are.
        right: How many costs are right.
        errors: Relative errors of the wrong ones that were answered.
    """

    answers: int
    right: int
    errors: tuple[Decimal, ...]

    def __str__(self) -> str:
        text = f"{self.right}/{self.answers}"
        silent = self.answers - self.right - len(self.errors)
        notes = []
        if self.errors:
            notes.append(f"{sum(self.errors) / len(self.errors) * 100:.1f} %")
        if silent:
            notes.append(f"{silent} without")
        return f"{text} ({', '.join(notes)})" if notes else text


def score(cases: Sequence[Case], costs: Mapping[str, Decimal | None], tolerance: Decimal) -> Score:
    """Compare costs with what is right."""
    right, errors = 0, []
    for case in cases:
        found, truth = costs[case.id], case.cost
        if found is None or truth is None:
            right += found is truth
            if found is not None:
                errors.append(Decimal(1))
            continue
        error = abs(found - truth) / abs(truth) if truth else Decimal(bool(found))
        if error <= tolerance:
            right += 1
        else:
            errors.append(error)
    return Score(len(cases), right, tuple(errors))


def our_costs(cases: Sequence[Case]) -> dict[str, Decimal | None]:
    """Charge every case with the book of this release."""
    book = PriceBook.default()
    return {case.id: charged(case, book).total for case in cases}


def our_column(cases: Sequence[Case]) -> dict[str, str]:
    """Return our cell of each class."""
    costs = our_costs(cases)
    return {kind: str(score(of_kind, costs, Decimal(0))) for kind, of_kind in by_kind(cases).items()}


def by_kind(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Return the cases of each class, sorted by its name."""
    kinds = sorted({case.kind for case in cases})
    return {kind: [case for case in cases if case.kind == kind] for kind in kinds}


def ask_peers(langfuse: Path | None) -> dict[str, Any]:
    """Charge the corpus with the other libraries, each in its pinned release."""
    script = Path(__file__).with_name("peers.py")
    packages = [word for package in PEERS for word in ("--with", package)]
    more = [] if langfuse is None else ["--langfuse", str(langfuse)]
    command = ["uv", "run", "--quiet", "--no-project", *packages, "python", str(script), *more]
    done = subprocess.run(command, input=CORPUS.read_text("utf-8"), capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def make_page(cases: Sequence[Case], peers: Mapping[str, Any]) -> str:
    """Write the page: what is compared and how, then a row for each class."""
    ours = our_costs(cases)
    untouched = [case for case in cases if not case.line.get("tuned")]
    names = list(peers["costs"])
    found, own = count_kinds(cases), count_overlay()
    text = _INTRODUCTION.format(
        answers=len(cases),
        makers=len({case.kind.partition("/")[0] for case in cases}),
        not_asked=NOT_ASKED,
        tuned=len(cases) - len(untouched),
        untouched=len(untouched),
        untouched_right=score(untouched, ours, Decimal(0)).right,
        prices=found.total(),
        evidence="\n".join(f"| {text} | {found[kind]} | {own[kind]} |" for kind, text in KINDS.items()),
        versions=", ".join(f"{name} {version}" for name, version in peers["versions"].items()),
        langfuse=_LANGFUSE if "langfuse" in names else _NO_LANGFUSE,
    )
    costs = {
        name: {id_: None if cost is None else Decimal(cost) for id_, cost in found.items()}
        for name, found in peers["costs"].items()
    }
    rows = [("class", "tuned", OURS, *names), ("---",) * (3 + len(names))]
    for kind, of_kind in by_kind(cases).items():
        tuned = sum(bool(case.line.get("tuned")) for case in of_kind)
        asked = [case for case in of_kind if case.cost is not None and not _is_charged(case)]
        cells = [str(score(asked, costs[name], _TOLERANCE)) if asked else NOT_ASKED for name in names]
        rows.append((kind, str(tuned), str(score(of_kind, ours, Decimal(0))), *cells))
    asked = [case for case in cases if case.cost is not None and not _is_charged(case)]
    totals = [str(score(asked, costs[name], _TOLERANCE)) for name in names]
    rows.append(("**all**", str(len(cases) - len(untouched)), str(score(cases, ours, Decimal(0))), *totals))
    return text + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _is_charged(case: Case) -> bool:
    return any(term.what == CHARGED for term in case.terms)


def main() -> int:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="file of the page; without it, the page is printed")
    parser.add_argument("--langfuse", type=Path, help="langfuse's default-model-prices.json")
    options = parser.parse_args()
    page = make_page(load(), ask_peers(options.langfuse))
    if options.write is None:
        sys.stdout.write(page)
    else:
        options.write.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
