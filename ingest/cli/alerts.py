"""`treering alerts` and `treering secret-key`."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ingest.cli.options import HomeOption, JsonOption  # noqa: TC001 -- typer reads the annotations at run time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.database import Database
    from ingest.documents.alerts import MessageState
    from ingest.settings import Settings

app = typer.Typer(
    help="Look at alerts, act on them, and keep rules as code.", no_args_is_help=True, rich_markup_mode=None
)

# A worker that took the test before this command did has answered by then: one attempt lasts ten seconds.
_LONGEST_WAIT_S: Final = 15.0


@app.callback()
def alerts() -> None:
    """Look at alerts, act on them, and keep rules as code."""


@app.command("test")
def send_test(
    rule: Annotated[str, typer.Argument(help="Name or number of the rule.")],
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a test message to every channel of a rule, and report whether it was delivered."""
    from ingest.database import fetch, open_database
    from ingest.documents.alerts import WrittenMessage
    from ingest.settings import load_settings

    settings = load_settings(home=home)
    with contextlib.closing(open_database(settings)) as database:
        rule_id = find_rule(database, rule)
        written = fetch(database, list[WrittenMessage], "send_test_notification", rule_id=rule_id)
        if not written:
            typer.echo(f"{rule} has no channel: choose one in Settings", err=True)
            raise typer.Exit(1)
        states = _send_and_wait(database, settings, [message.notification_id for message in written])
    if as_json:
        typer.echo(json.dumps([state.model_dump(mode="json") for state in states], indent=2))
    for state in states:
        reason = f": {state.last_error}" if state.last_error else ""
        if not as_json:
            typer.echo(f"{state.channel_name}: {state.state}{reason}")
    if any(state.state != "sent" for state in states):
        raise typer.Exit(1)


def _send_and_wait(database: Database, settings: Settings, numbers: Sequence[int]) -> Sequence[MessageState]:
    from ingest.alerts.notifier import ChannelNotifier
    from ingest.alerts.outbox import deliver_notifications
    from ingest.database import fetch
    from ingest.documents.alerts import MessageState
    from ingest.worker.worker import default_name

    # These messages alone: what else waits is the worker's, which may have other settings.
    notifier = ChannelNotifier.from_settings(settings)
    deliver_notifications(database, default_name(), notifier=notifier, notification_ids=numbers)
    end = time.monotonic() + _LONGEST_WAIT_S
    while True:
        states = fetch(database, list[MessageState], "get_notification_states", notification_ids=list(numbers))
        if all((state.attempts and state.state != "pending") or state.last_error for state in states):
            return states
        if time.monotonic() > end:
            return states
        time.sleep(0.2)


def secret_key() -> None:
    """Print a new key for TREERING_SECRET_KEY, which encrypts channel addresses."""
    from ingest.alerts.sealing import make_key

    typer.echo(make_key())


def find_rule(database: Database, wanted: str) -> int:
    """Return the number of a rule that is named or numbered so; exit where there is none."""
    from ingest.database import fetch
    from ingest.documents.settings import Configuration

    for rule in fetch(database, Configuration, "get_settings").rules:
        if wanted in (rule.name, str(rule.rule_id)):
            return rule.rule_id
    typer.echo(f"no such rule: {wanted}", err=True)
    raise typer.Exit(1)
