"""The manifest of an archived month: which files count, what is in them, whether the database has let go of them."""

from __future__ import annotations

import datetime as dt  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints, computed_field

from ingest.archive.schema import Kind  # noqa: TC001 -- pydantic reads the annotations at run time
from ingest.archive.sums import add_sums
from ingest.documents.pipeline import ColumnSum  # noqa: TC001 -- as above

if TYPE_CHECKING:
    from collections.abc import Iterator


SCHEMA_VERSION: Literal["treering.archive/1"] = "treering.archive/1"


# A name and nothing else: a path would lead out of the month's folder, on the disk of whoever reads the archive.
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9][A-Za-z0-9_-]*)*\.parquet$"
FileName = Annotated[str, StringConstraints(max_length=128, pattern=_NAME)]


class _Record(BaseModel):
    # Computed figures are written for people and other programs, and ignored when read back.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Part(_Record):
    """One Parquet file.

    Attributes:
        file: Its name, beside the manifest.
        rows: How many rows it has.
        size_bytes: Its length.
        sha256: Of the whole file, hexadecimal.
        min_created_at: Time of its first row.
        max_created_at: Time of its last row.
        columns: Exact sums of its columns; see `ingest.archive.sums`.
    """

    file: FileName
    rows: int
    size_bytes: int
    sha256: str
    min_created_at: AwareDatetime
    max_created_at: AwareDatetime
    columns: dict[str, ColumnSum]


class Generation(_Record):
    """What one run archived. A month has more than one when rows came late.

    Attributes:
        archive_id: Its name in the database's own record.
        written_at: When its files were complete.
        dropped_at: When the database had dropped the rows; None until then.
        parts: Its files.
    """

    archive_id: str
    written_at: AwareDatetime
    dropped_at: AwareDatetime | None = None
    parts: tuple[Part, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def rows(self) -> int:
        """How many rows its parts have."""
        return sum(part.rows for part in self.parts)

    @property
    def columns(self) -> dict[str, ColumnSum]:
        """Exact sums over its parts."""
        return add_sums(part.columns for part in self.parts)


class Manifest(_Record):
    """All that is archived of one month."""

    schema_version: Literal["treering.archive/1"] = SCHEMA_VERSION
    kind: Kind
    month: dt.date
    generations: tuple[Generation, ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def rows(self) -> int:
        """How many rows the month has in the archive."""
        return sum(generation.rows for generation in self.generations)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total_tokens(self) -> int:
        """Prompt and completion tokens."""
        sums = self.columns
        return sum(int(sums[name].sum) for name in ("prompt_tokens", "completion_tokens") if name in sums)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def estimated_cost(self) -> str | None:
        """Exact sum in US dollars; None for requests, which cost nothing."""
        sums = self.columns
        return sums["estimated_cost"].sum if "estimated_cost" in sums else None

    @property
    def columns(self) -> dict[str, ColumnSum]:
        """Exact sums over all generations."""
        return add_sums(generation.columns for generation in self.generations)

    @property
    def size_bytes(self) -> int:
        """Length of all files together."""
        return sum(part.size_bytes for part in self.parts())

    @property
    def cost(self) -> Decimal | None:
        """As `estimated_cost`, as a number."""
        return None if self.estimated_cost is None else Decimal(self.estimated_cost)

    def parts(self) -> Iterator[Part]:
        """All files that count, oldest first."""
        for generation in self.generations:
            yield from generation.parts

    def with_generations(self, *generations: Generation) -> Manifest:
        """The same month with these generations."""
        return self.model_copy(update={"generations": tuple(generations)})
