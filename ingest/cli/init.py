"""`treering init`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from ingest.ops.first_steps import SignIn

_NEW = "new"
_FOR_THE_APP = ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_JWT_SIGNING_KEY", "TREERING_SECRET_KEY")


def init(
    *,
    url: Annotated[
        str | None, typer.Option(envvar="SUPABASE_URL", show_envvar=False, help="Address of the project, or its ref.")
    ] = None,
    publishable_key: Annotated[
        str | None,
        typer.Option(envvar="SUPABASE_PUBLISHABLE_KEY", show_envvar=False, help="Publishable key of the project."),
    ] = None,
    secret_key: Annotated[
        str | None, typer.Option(envvar="SUPABASE_SECRET_KEY", show_envvar=False, help="Secret key of the project.")
    ] = None,
    db_url: Annotated[
        str | None,
        typer.Option(envvar="SUPABASE_DB_URL", show_envvar=False, help="Postgres address, for the migrations."),
    ] = None,
    signing_key: Annotated[
        str | None,
        typer.Option(help="File with the private key (JWK) that signs viewers' tokens, `new` to make one, or `none`."),
    ] = None,
    app_url: Annotated[str | None, typer.Option(help="Public address of the app.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="Address of the sign-in provider's .well-known/openid-configuration.")
    ] = None,
    client_id: Annotated[str | None, typer.Option(help="The app's client id at the provider.")] = None,
    client_secret: Annotated[
        str | None,
        typer.Option(envvar="TREERING_CLIENT_SECRET", show_envvar=False, help="The app's client secret there."),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where .env and .streamlit/secrets.toml are written.")] = Path(),
    no_input: Annotated[bool, typer.Option("--no-input", help="Never ask; what is missing is left out.")] = False,
) -> None:
    """Set up hosted Supabase: ask for address and keys, write the settings, check them, list what remains."""
    from ingest.cli.env_file import ENV_FILE, read_env_file
    from ingest.ops.first_steps import keep_out_of_git, project_url, read_secrets
    from ingest.ops.settings_checks import SECRETS_FILE

    known = read_env_file(folder / ENV_FILE) | read_secrets(folder / SECRETS_FILE).get("auth", {})
    ask = _Questions(known, is_silent=no_input)
    values = {
        "SUPABASE_URL": project_url(ask("SUPABASE_URL", "Project address (https://REF.supabase.co)", url)),
        "SUPABASE_PUBLISHABLE_KEY": ask("SUPABASE_PUBLISHABLE_KEY", "Key sb_publishable_…", publishable_key),
        "SUPABASE_SECRET_KEY": ask("SUPABASE_SECRET_KEY", "Key sb_secret_…", secret_key, is_secret=True),
        "SUPABASE_DB_URL": ask("SUPABASE_DB_URL", "Connect > Session pooler, for migrations", db_url, is_secret=True),
        "SUPABASE_JWT_SIGNING_KEY": _signing_key(
            ask("SUPABASE_JWT_SIGNING_KEY", "Signing key: a file, new, or none", signing_key, default=_NEW)
        ),
    }
    _check(values)
    sign_in = _sign_in(ask, app_url, provider, client_id, client_secret)
    for name in keep_out_of_git(folder, [".env", ".streamlit/secrets.toml"]):
        typer.echo(f"added /{name} to .gitignore")
    _write(folder, {name: value for name, value in values.items() if value}, sign_in)
    raise typer.Exit(_examine(folder, sign_in))


class _Questions:
    """Asks for what was neither given nor written by an earlier run."""

    def __init__(self, known: dict[str, str], *, is_silent: bool) -> None:
        self._known = known
        self._is_silent = is_silent

    def __call__(
        self, name: str, question: str, given: str | None, *, is_secret: bool = False, default: str = ""
    ) -> str:
        given = given if given is not None else self._known.get(name)
        if given is not None or self._is_silent:
            return (given or "").strip()
        answer: str = typer.prompt(question, default=default, hide_input=is_secret, show_default=bool(default))
        return answer.strip()


def _signing_key(choice: str) -> str:
    from ingest.database.signing import make_signing_key

    if choice in ("", "none"):
        return ""
    if choice.startswith("{"):  # kept from an earlier run
        return choice
    if choice == _NEW:
        return make_signing_key()
    try:
        return " ".join(Path(choice).read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--signing-key: {choice} cannot be read ({type(error).__name__})") from None


def _check(values: dict[str, str]) -> None:
    """Refuse at once what can be seen to be wrong: a file with it would only have to be written again."""
    from ingest.database.health import Level
    from ingest.database.postgres import check_conninfo
    from ingest.database.signing import read_signing_key
    from ingest.ops.settings_checks import examine_settings
    from ingest.settings import load_settings

    if not values["SUPABASE_URL"] and not values["SUPABASE_DB_URL"]:
        raise ConfigurationError("SUPABASE_URL: give the address of the project (--url), or SUPABASE_DB_URL (--db-url)")
    if values["SUPABASE_DB_URL"]:
        check_conninfo(values["SUPABASE_DB_URL"])
    settings = load_settings(**{name.lower(): value for name, value in values.items()})
    read_signing_key(settings)
    for finding in examine_settings(settings):
        if finding.level is Level.CRITICAL:
            raise ConfigurationError(str(finding))


def _sign_in(
    ask: _Questions, app_url: str | None, provider: str | None, client_id: str | None, client_secret: str | None
) -> SignIn | None:
    from ingest.ops.first_steps import SignIn, sign_in_addresses

    app = ask(
        "TREERING_DASHBOARD_URL",
        "Public address of the app",
        app_url,
        default="http://localhost:8501/dashboard/observability",
    )
    metadata = ask(
        "server_metadata_url", "Sign-in provider's .well-known/openid-configuration (empty: later)", provider
    )
    if not app or not metadata:
        return None
    app, metadata = sign_in_addresses(app, metadata)
    name = ask("client_id", "Client id", client_id)
    secret = ask("client_secret", "Client secret", client_secret, is_secret=True)
    return SignIn(app, metadata, name, secret)


def _write(folder: Path, values: dict[str, str], sign_in: SignIn | None) -> None:
    from ingest.alerts.sealing import make_key
    from ingest.cli.env_file import ENV_FILE, merge_env_file, read_env_file
    from ingest.ops.first_steps import write_private
    from ingest.ops.settings_checks import SECRETS_FILE

    env = folder / ENV_FILE
    before = env.read_text(encoding="utf-8") if env.exists() else ""
    values.setdefault("TREERING_SECRET_KEY", read_env_file(env).get("TREERING_SECRET_KEY") or make_key())
    if sign_in is not None:
        values.setdefault("TREERING_DASHBOARD_URL", sign_in.app_url)
    write_private(env, merge_env_file(before, values))
    typer.echo(f"wrote {env} (mode 600)")
    # The app has no need of the secret key, which reads everything.
    names = _FOR_THE_APP if "SUPABASE_PUBLISHABLE_KEY" in values else ("SUPABASE_DB_URL", "TREERING_SECRET_KEY")
    _write_secrets(folder / SECRETS_FILE, {name: values[name] for name in names if name in values}, sign_in)


def _write_secrets(path: Path, settings: dict[str, str], sign_in: SignIn | None) -> None:
    from ingest.ops.first_steps import read_secrets, renewed_secrets, secrets_toml, write_private

    known = read_secrets(path)
    if sign_in is None:
        typer.echo(f"{'kept' if known else 'left out'} {path}: no sign-in provider was given")
        return
    try:
        text = renewed_secrets(known, settings, sign_in) if known else secrets_toml(settings, sign_in)
    except ConfigurationError as error:
        typer.echo(f"kept {path}: {error}")
        return
    if text is None:
        typer.echo(f"kept {path}")
        return
    write_private(path, text)
    typer.echo(f"{'renewed' if known else 'wrote'} {path} (mode 600)")


def _examine(folder: Path, sign_in: SignIn | None) -> int:
    """Run the checks with what was written, and say what remains; returns the exit code."""
    from ingest.cli.doctor import print_findings
    from ingest.cli.env_file import ENV_FILE, read_env_file
    from ingest.database.health import Level
    from ingest.ops.doctor import examine
    from ingest.ops.first_steps import remaining_steps
    from ingest.settings import load_settings

    os.environ.update(read_env_file(folder / ENV_FILE))
    typer.echo("")
    findings = list(examine(load_settings(), folder=folder))
    worst = print_findings(findings)
    typer.echo("\nWhat remains, in this order (then run `treering doctor` again):")
    for number, step in enumerate(remaining_steps(findings, sign_in, "treering dashboard"), start=1):
        typer.echo(f"{number:>2}. {step}")
    return 1 if worst is Level.CRITICAL else 0
