"""The only border between Python and the database: functions of the schema `observability`, called by name.

There are two doors with the same results, rights and errors: Supabase's API and Postgres itself.
"""

from ingest.database.contract import Argument, Database, JsonValue
from ingest.database.fetching import fetch, parse
from ingest.database.opening import EMBEDDED_URI_FILE, open_database, open_viewer_database
from ingest.database.postgres import PostgresDatabase
from ingest.database.supabase import SupabaseDatabase
from ingest.database.viewer_token import choose_token

__all__ = [
    "EMBEDDED_URI_FILE",
    "Argument",
    "Database",
    "JsonValue",
    "PostgresDatabase",
    "SupabaseDatabase",
    "choose_token",
    "fetch",
    "open_database",
    "open_viewer_database",
    "parse",
]
