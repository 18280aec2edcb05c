"""What all documents have in common."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A part of what an SQL function returns, checked at the border and typed from there on.

    Sums of money arrive as text and become `Decimal`; times become aware UTC `datetime`. Keys that a newer database
    adds are ignored, so that an older app goes on working.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")


LIMITED: Final = frozenset({"member", "tenant"})
"""Whose access is to a part of the calls: a person's own, or a tenant's."""
