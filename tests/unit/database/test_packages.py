"""The API needs a package that the core does without; whoever lacks it is told which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import ingest
from ingest.database import opening
from ingest.errors import ConfigurationError
from ingest.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def without_supabase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda _name: None)


def test_the_missing_package_is_named_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"pip install 'treering\[supabase\]'"):
        ingest.configure(supabase_url="https://p.supabase.co", supabase_secret_key="k", home=tmp_path)


def test_a_direct_address_needs_no_package(tmp_path: Path) -> None:
    settings = load_settings(
        supabase_url="https://p.supabase.co", supabase_db_url="postgresql://127.0.0.1:9/none", home=tmp_path
    )
    opening.check_packages(settings)
    opening.open_database(settings).close()
