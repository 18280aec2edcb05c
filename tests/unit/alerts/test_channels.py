from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from ingest.alerts import channels
from ingest.alerts.channels import ChannelTarget
from ingest.alerts.sealing import SecretBox, make_key
from ingest.errors import ConfigurationError


def target(url: str, **fields: object) -> ChannelTarget:
    return ChannelTarget.model_validate({"url": url, **fields})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"url": "ftp://example.com/hidden"}, "an address must be http:// or https://"),
        ({"url": "https://me:hidden@example.com/"}, "without user and password"),
        ({"url": "https://exam ple.com/hidden"}, "an address must be http:// or https://"),
        ({"url": f"https://example.com/{'x' * 2048}"}, "at most 2048 characters"),
        (
            {"url": "https://example.com/", "signing_secret": "hidden"},
            "a signing secret must have 16 to 200 characters",
        ),
        (
            {"url": "https://x.example/", "signing_secret": "whsec_hidden-is-not-base64"},
            "what follows whsec_ must be base64",
        ),
        ({"url": "hidden", "kind": "apprise"}, "an apprise address must start with a service such as slack://"),
        ({"url": "json://example.com/hidden", "kind": "apprise"}, "use a webhook for JSON"),
        ({"url": "slack://hidden", "kind": "apprise"}, "apprise does not understand this slack:// address"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused_without_repeating_it(fields: dict[str, str], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as refusal:
        ChannelTarget.model_validate(fields)
    assert "hidden" not in str(refusal.value)


def test_what_is_shown_of_an_address_holds_no_secret() -> None:
    assert target("https://Hooks.Example.com:8443/secret?key=1").hint == "hooks.example.com"
    slack = target("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", kind="apprise")
    assert slack.hint == "slack"
    assert "TIiaj" not in repr(slack)


def test_without_apprise_the_address_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "find_spec", lambda _: None)
    assert target("whatever://token", kind="apprise").hint == "whatever"


def test_a_webhook_gets_a_secret_of_its_own() -> None:
    one, two = (target("https://example.com/").signing_secret.get_secret_value() for _ in range(2))
    assert one.startswith("whsec_")
    assert one != two


def test_sealed_and_revealed_it_is_the_same_document() -> None:
    box = SecretBox(SecretStr(make_key()))
    hook = target("https://example.com/x", signing_secret="a secret of 16 or more")
    sealed = hook.seal(box)
    assert (sealed["kind"], sealed["target_hint"]) == ("webhook", "example.com")
    assert "example.com/x" not in str(sealed)
    document = box.open(str(sealed["sealed"]))
    assert hook.reveal() == {"kind": "webhook", **(document or {})}


def test_keys_rotate() -> None:
    old, new = make_key(), make_key()
    sealed = SecretBox(SecretStr(old)).seal({"a": "b"})
    assert SecretBox(SecretStr(f"{new}, {old}")).open(sealed) == {"a": "b"}
    assert SecretBox(SecretStr(new)).open(sealed) is None


def test_a_wrong_key_is_a_mistake_of_the_configuration() -> None:
    with pytest.raises(ConfigurationError, match="TREERING_SECRET_KEY") as mistake:
        SecretBox(SecretStr("hidden"))
    assert "hidden" not in str(mistake.value)
