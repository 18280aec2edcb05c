"""What helps when Supabase's Postgres refuses a sign-in."""

from __future__ import annotations

import pytest

from ingest.database.postgres_advice import advise

REFUSED = 'FATAL:  password authentication failed for user "postgres"'


@pytest.mark.parametrize(
    ("password", "helps"),
    [("[geheim]", "remove the square brackets"), ("geheim", "check the password"), ("[geheim", "check the password")],
)
def test_a_refused_password_in_the_brackets_of_supabases_placeholder_is_recognised(password: str, helps: str) -> None:
    advice = advise(f"postgresql://postgres:{password}@localhost/postgres", REFUSED)
    assert helps in advice
    assert "geheim" not in advice
