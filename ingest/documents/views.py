"""What people keep of the app's pages."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time

from ingest.documents.document import Document


class SavedView(Document):
    """The choices of one page under a name.

    Attributes:
        view_id: Its number.
        owner: Who saved it.
        page: Short name of the page, as in its address.
        name: What its owner calls it; unique among their views of the page.
        query: The parameters of the page's address, each with its values.
        is_shared: Whether analysts and ops see it too.
        saved_at: When it was saved last.
        is_own: Whether the reader is its owner.
    """

    view_id: int
    owner: str
    page: str
    name: str
    query: dict[str, tuple[str, ...]]
    is_shared: bool
    saved_at: datetime
    is_own: bool


class SavedViews(Document):
    """Document of `get_views`: the reader's own, then what others share with them."""

    views: tuple[SavedView, ...]
