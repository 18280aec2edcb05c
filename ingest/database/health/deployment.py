"""Judges what `get_deployment` reports: rights, partitions, and the key of sealed channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.database.health.findings import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.documents.deployment import Deployment

_MAX_NAMES: Final = 3


def judge_deployment(state: Deployment, *, has_key: bool, opens: Callable[[str], bool] | None = None) -> list[Finding]:
    """Judge the parts of a deployment that show in no figure.

    Args:
        state: What the database says.
        has_key: Whether this process has `TREERING_SECRET_KEY`.
        opens: Whether that key opens what was sealed, for who may read it.
    """
    return [
        _judge_rls(state),
        _judge_anon(state),
        _judge_viewers(state),
        _judge_partitions(state),
        *_judge_sealed(state, has_key=has_key, opens=opens),
        _judge_ops(state),
    ]


def _judge_rls(state: Deployment) -> Finding:
    tables = state.tables_without_rls
    if not tables:
        return Finding("row level security", Level.OK, "on for every table")
    statement = f"alter table observability_internal.{tables[0]} enable row level security"
    return Finding("row level security", Level.CRITICAL, f"off for {_names(tables)}", f"`{statement}`")


def _judge_anon(state: Deployment) -> Finding:
    found = state.open_to_anon
    if not found:
        return Finding("rights of anon", Level.OK, "none, as intended")
    fix = (
        "`revoke all on schema observability, observability_internal from anon, public`, and the same for all "
        "functions, tables and sequences in both schemas"
    )
    return Finding("rights of anon", Level.CRITICAL, f"anon or everybody was granted {_names(found)}", fix)


def _judge_viewers(state: Deployment) -> Finding:
    missing = state.closed_to_viewers
    if not missing:
        return Finding("rights of viewers", Level.OK, "authenticated may call the pages")
    first = missing[0]
    if first.startswith("role "):
        return Finding(
            "rights of viewers", Level.CRITICAL, "the role authenticated is missing", "run `treering migrate`"
        )
    what = f"usage on {first}" if first.startswith("schema ") else f"execute on function {first}"
    return Finding(
        "rights of viewers",
        Level.CRITICAL,
        f"authenticated may not use {_names(missing)}, so no page opens",
        f"`grant {what} to authenticated`",
    )


def _judge_partitions(state: Deployment) -> Finding:
    missing = state.missing_partitions
    if not missing:
        return Finding("partitions", Level.OK, "this month and the next are there")
    fix = "start `treering worker`, which makes them"
    return Finding("partitions", Level.CRITICAL, f"{_names(missing)} missing", fix)


def _judge_sealed(state: Deployment, *, has_key: bool, opens: Callable[[str], bool] | None) -> list[Finding]:
    if not state.sealed_channels:
        return []
    part, channels = "channel secrets", _names(state.sealed_channels)
    if not has_key:
        fix = "set TREERING_SECRET_KEY to the key with which they were saved, for the app and the worker"
        return [Finding(part, Level.CRITICAL, f"the addresses of {channels} are sealed and no key is set here", fix)]
    closed = [one for one in state.sealed if opens is not None and not opens(one)]
    if closed:
        fix = "add the older key to TREERING_SECRET_KEY, after a comma, or save the channels again"
        count = f"{len(closed)} of {len(state.sealed)} channels"
        return [Finding(part, Level.CRITICAL, f"TREERING_SECRET_KEY does not open the addresses of {count}", fix)]
    return [Finding(part, Level.OK, f"TREERING_SECRET_KEY is set for {channels}")]


def _judge_ops(state: Deployment) -> Finding:
    if state.ops_members:
        return Finding("members", Level.OK, f"{state.ops_members} with the role ops")
    fix = "`treering members add USER_ID --role ops`, with the sub of your sign-in"
    return Finding("members", Level.WARNING, "nobody has the role ops, so nobody can change settings", fix)


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
