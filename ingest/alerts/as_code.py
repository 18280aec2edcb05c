"""Rules, budgets, routes and mute times as one YAML document: written from the database, checked, compared, applied.

Channels appear by name. Their addresses are secrets and stay where they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml
from pydantic import BaseModel, ValidationError

from ingest.alerts.metrics import METRICS
from ingest.alerts.on_call import MuteDraft, RouteDraft
from ingest.alerts.rules import BudgetDraft, RuleDraft
from ingest.database import fetch
from ingest.documents.settings import Configuration
from ingest.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ingest.database import Database

VERSION: Final = 1


# YAML 1.1 reads 22:00 as a number to the base of 60, 1,320: here it is a time of day.
_RESOLVERS: Final = {
    first: [("tag:yaml.org,2002:str", re.compile(r"[0-9]{1,2}(:[0-9]{2}){1,2}$")), *resolvers]
    if first.isdigit()
    else resolvers
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """One list of the document.

    Attributes:
        key: Its key.
        word: What one of it is called.
        form: How one is checked.
        number: The key of its number in the database.
        save: Function that stores one, and the argument that takes it.
        delete: Function that removes one.
        named: Which of its keys hold names in the document and numbers in the database.
    """

    key: str
    word: str
    form: type[BaseModel]
    number: str
    save: tuple[str, str]
    delete: str
    named: tuple[str, ...]


# fmt: off
_KINDS: Final = (
    _Kind("rules", "rule", RuleDraft, "rule_id", ("save_alert_rule", "rule"), "delete_alert_rule", ("channels",)),
    _Kind("budgets", "budget", BudgetDraft, "budget_id", ("save_budget", "budget"), "delete_budget", ("channels",)),
    _Kind(
        "routes", "route", RouteDraft, "route_id", ("save_alert_route", "route"), "delete_alert_route", ("channels",)
    ),
    _Kind("mutes", "mute time", MuteDraft, "mute_id", ("save_alert_mute", "mute"), "delete_alert_mute", ("rules",)),
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Change:
    """What applying a document would do to one entry.

    Attributes:
        kind: Which list it is in.
        name: Its name.
        action: `add`, `change` or `delete`.
        fields: What differs, as before and after; empty for additions and deletions.
        number: Its number in the database; None for an addition.
        entry: It as the document has it; empty for a deletion.
    """

    kind: str
    name: str
    action: str
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    number: int | None = None
    entry: dict[str, Any] = field(default_factory=dict)

    def describe(self) -> str:
        """Say it on one line."""
        word = next(kind.word for kind in _KINDS if kind.key == self.kind)
        sign = {"add": "+", "change": "~", "delete": "-"}[self.action]
        details = "; ".join(f"{name}: {_short(old)} -> {_short(new)}" for name, (old, new) in self.fields.items())
        return f"{sign} {word} {self.name}" + (f": {details}" if details else "")


def export_alerts(configuration: Configuration) -> str:
    """Write what is configured as YAML, without what is at its default."""
    document: dict[str, Any] = {"version": VERSION}
    for kind in _KINDS:
        entries = [entry for _, entry in _stored(kind, configuration)]
        if entries:
            document[kind.key] = entries
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=False, width=100)
    return f"# Alerts of Treering: treering alerts apply FILE --dry-run\n{text}"


def read_alerts(text: str, configuration: Configuration) -> dict[str, list[dict[str, Any]]]:
    """Read and check a document.

    Args:
        text: YAML, or JSON, which is YAML.
        configuration: What is configured; channels are looked up in it by their names.

    Returns:
        The entries of each list, complete but for what is at its default.

    Raises:
        InvalidArgumentError: The document is not one of ours; the message names every mistake with its place.
    """
    try:
        document = _load(text)
    except yaml.YAMLError as error:
        raise InvalidArgumentError(f"not YAML: {error}") from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise InvalidArgumentError(f"the document must be a mapping with version: {VERSION}")
    lists = {kind.key: document.get(kind.key) or [] for kind in _KINDS}
    problems = [f"unknown key {key}" for key in sorted(map(str, document.keys() - {"version", *lists}))]
    rules = {str(one["name"]) for one in lists["rules"] if isinstance(one, dict) and "name" in one}
    known = {
        "channels": {channel.name: channel.channel_id for channel in configuration.channels},
        "rules": {rule.name: rule.rule_id for rule in configuration.rules} | dict.fromkeys(rules, 0),
    }
    read: dict[str, list[dict[str, Any]]] = {}
    for kind in _KINDS:
        read[kind.key] = list(_check(kind, lists[kind.key], known, problems))
    if problems:
        raise InvalidArgumentError("; ".join(problems))
    return read


def compare_alerts(
    wanted: Mapping[str, Sequence[Mapping[str, Any]]], configuration: Configuration, *, is_whole: bool = False
) -> list[Change]:
    """Compare a document with what is configured.

    Args:
        wanted: As `read_alerts` returns it.
        configuration: What is configured.
        is_whole: Whether what the document does not name is to be deleted.
    """
    changes = []
    for kind in _KINDS:
        stored = {entry["name"]: (number, entry) for number, entry in _stored(kind, configuration)}
        for entry in wanted[kind.key]:
            name = entry["name"]
            if name not in stored:
                changes.append(Change(kind.key, name, "add", entry=dict(entry)))
                continue
            number, old = stored.pop(name)
            fields = {key: (old.get(key), entry.get(key)) for key in {**old, **entry} if old.get(key) != entry.get(key)}
            if fields:
                changes.append(Change(kind.key, name, "change", fields, number, dict(entry)))
        if is_whole:
            changes += [Change(kind.key, name, "delete", number=number) for name, (number, _) in stored.items()]
    return changes


def apply_changes(database: Database, changes: Sequence[Change]) -> None:
    """Make the changes: those to add and to change in order, then those to delete.

    Raises:
        DatabaseError: The database refuses one; those before it have been made.
    """
    # Deletions last: a mute time moves to its new rule before its old one is deleted.
    for change in sorted(changes, key=lambda one: one.action == "delete"):
        kind = next(kind for kind in _KINDS if kind.key == change.kind)
        if change.action == "delete":
            database.call(kind.delete, **{kind.number: change.number})
            continue
        configuration = fetch(database, Configuration, "get_settings")
        numbers = {
            "channels": {channel.name: channel.channel_id for channel in configuration.channels},
            "rules": {rule.name: rule.rule_id for rule in configuration.rules},
        }
        entry = {**change.entry}
        for key in kind.named:
            entry[key] = [numbers[key][name] for name in entry.get(key, [])]
        # What the document leaves out is at its default, whatever the database has.
        whole = kind.form.model_validate(entry).model_dump(mode="json")
        if change.number is not None:
            whole[kind.number] = change.number
        function, argument = kind.save
        database.call(function, **{argument: whole})


def _load(text: str) -> object:
    loader = yaml.SafeLoader(text)
    loader.yaml_implicit_resolvers = _RESOLVERS
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _check(
    kind: _Kind, entries: object, known: Mapping[str, Mapping[str, int]], problems: list[str]
) -> Iterator[dict[str, Any]]:
    if not isinstance(entries, list):
        problems.append(f"{kind.key}: must be a list")
        return
    seen: set[str] = set()
    for place, entry in enumerate(entries):
        where = f"{kind.key}[{place}]"
        if not isinstance(entry, dict):
            problems.append(f"{where}: must be a mapping")
            continue
        numbered, listed = {**entry}, {}
        for key in kind.named:
            names = entry.get(key) or []
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                problems.append(f"{where}.{key}: must be a list of names")
                names = ["?"]
            else:
                unknown = [name for name in names if name not in known[key]]
                problems += [f"{where}.{key}: there is no {key.removesuffix('s')} {name}" for name in unknown]
            listed[key] = names
            numbered[key] = [known[key].get(name, 0) for name in names]
        try:
            checked = kind.form.model_validate(numbered)
        except ValidationError as error:
            problems += [
                f"{'.'.join((where, *map(str, one['loc'])))}: {one['msg'].removeprefix('Value error, ')}"
                for one in error.errors(include_url=False, include_context=False, include_input=False)
            ]
            continue
        whole = _without_defaults(kind, checked) | {key: names for key, names in listed.items() if names}
        if whole["name"] in seen:
            problems.append(f"{where}: the name {whole['name']} occurs twice")
        seen.add(whole["name"])
        yield whole


def _stored(kind: _Kind, configuration: Configuration) -> Iterator[tuple[int, dict[str, Any]]]:
    names = {
        "channels": {channel.channel_id: channel.name for channel in configuration.channels},
        "rules": {rule.rule_id: rule.name for rule in configuration.rules},
    }
    for one in getattr(configuration, kind.key):
        if getattr(one, "is_managed", False):
            continue
        values = {name: _plain(getattr(one, name)) for name in kind.form.model_fields if hasattr(one, name)}
        entry = _without_defaults(kind, kind.form.model_validate(values))
        for key in kind.named:
            entry.pop(key, None)
            if listed := sorted(names[key][number] for number in values[key] if number in names[key]):
                entry[key] = listed
        yield getattr(one, kind.number), entry


def _without_defaults(kind: _Kind, entry: BaseModel) -> dict[str, Any]:
    # Numbers are written as they are read: 5 for 5.000.
    whole = entry.model_dump(mode="json", exclude_defaults=True)
    for name, value in entry.model_dump(exclude_defaults=True).items():
        if hasattr(value, "normalize"):
            whole[name] = f"{value.normalize():f}"
        elif name == "steps":
            whole[name] = [f"{step.normalize():f}" for step in value]
        elif name == "conditions":
            whole[name] = [
                {
                    "metric": one["metric"],
                    "comparator": one["comparator"],
                    "threshold": f"{one['threshold'].normalize():f}",
                }
                for one in entry.model_dump()[name]
            ]
    if isinstance(entry, RuleDraft) and entry.minimum_sample == METRICS[entry.metric].default_sample:
        del whole["minimum_sample"]
    for key in kind.named:
        whole.pop(key, None)
    return whole


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [one.model_dump() if isinstance(one, BaseModel) else one for one in value]
    return value


def _short(value: object) -> str:
    return "(default)" if value is None else str(value)
