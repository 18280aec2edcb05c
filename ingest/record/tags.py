"""Keeps to the tags that the customer has declared: each one is a dimension of every figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def keep_declared(fields: dict[str, object], declared: Collection[str]) -> list[str]:
    """Move the tags of an event that are not declared to its `metadata`, where they can still be searched.

    Args:
        fields: The event's fields, changed in place; `flags` lists what was moved, as `tags.<name>:undeclared`.
        declared: Names of tags.

    Returns:
        The names that were not declared.
    """
    tags = fields.get("tags")
    if not isinstance(tags, Mapping):
        return []
    unknown = [name for name in tags if name not in declared]
    if not unknown:
        return []
    metadata = fields.get("metadata")
    moved = {str(name): tags[name] for name in unknown if tags[name] is not None}
    fields["tags"] = {name: value for name, value in tags.items() if name in declared}
    fields["metadata"] = {**moved, **(metadata if isinstance(metadata, Mapping) else {})}
    flags = fields.get("flags")
    named = [f"tags.{name}:undeclared" for name in unknown]
    fields["flags"] = [*(flags if isinstance(flags, list) else []), *named]
    return [str(name) for name in unknown]
