"""What helps when Supabase's Postgres cannot be reached: which of its three addresses to use, and with which user."""

from __future__ import annotations

import re

import psycopg
from psycopg.conninfo import conninfo_to_dict

_DIRECT_HOST = re.compile(r"db\.(?P<ref>[a-z0-9]+)\.supabase\.(co|red)")
_POOLER_HOST = re.compile(r".+\.pooler\.supabase\.(com|co)")
_NO_ROUTE = re.compile(
    r"could not translate host name|failed to resolve|Name or service not known|No address associated|"
    r"Network is unreachable|No route to host|Cannot assign requested address|Address family",
    re.IGNORECASE,
)


def advise(conninfo: str, said: str) -> str:
    """Return what helps, or nothing.

    Args:
        conninfo: The address; no part of its password is repeated.
        said: What the client library or the server said.
    """
    try:
        parts = conninfo_to_dict(conninfo)
    except psycopg.Error:
        return ""
    host, user = str(parts.get("host", "")), str(parts.get("user", ""))
    direct = _DIRECT_HOST.fullmatch(host)
    if direct and _NO_ROUTE.search(said):
        return (
            f"{host} has an IPv6 address only, which this network does not reach: set SUPABASE_DB_URL to the project's "
            f"session pooler (Connect > Session pooler), user postgres.{direct['ref']}, port 5432"
        )
    if _POOLER_HOST.fullmatch(host) and "." not in user:
        return (
            f"the pooler tells projects apart by the user: write postgres.REF, not {user or 'none'}, in SUPABASE_DB_URL"
        )
    if "tenant" in said.lower() and "not found" in said.lower():
        return "the pooler does not know this user here: copy host and user from Connect > Session pooler"
    if "password authentication failed" in said:
        if re.fullmatch(r"\[.*\]", str(parts.get("password", "")), re.DOTALL):
            return (
                "remove the square brackets around the password in SUPABASE_DB_URL: they marked Supabase's placeholder"
            )
        return (
            "check the password in SUPABASE_DB_URL (special characters percent-encoded), or set a new one under "
            "Project Settings > Database"
        )
    return ""
