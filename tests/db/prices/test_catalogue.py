"""The published catalogue: fetched by the worker, kept in the database, used by every process that prices."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from genai_prices.update_prices import DEFAULT_UPDATE_URL

from ingest.errors import CatalogueError, PermissionDeniedError, UnexpectedResponseError
from ingest.notices import Notices
from ingest.prices.catalogue import default_url, update_catalogue
from ingest.prices.in_force import Prices
from pricing.catalogue import Catalogue
from tests.support.events import NOON
from tests.support.pricing import cost_of
from tests.support.scripted_database import ScriptedDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door


def published(input_price: float, models: int = 200) -> str:
    """A catalogue as genai-prices publishes it, with another price for gpt-4o."""
    others = [
        {"id": f"other-{number}", "match": {"equals": f"other-{number}"}, "prices": {"input_mtok": 1}}
        for number in range(models - 1)
    ]
    ours = {"id": "gpt-4o", "match": {"equals": "gpt-4o"}, "prices": {"input_mtok": input_price, "output_mtok": 10}}
    return json.dumps([{"id": "openai", "name": "OpenAI", "api_pattern": "openai", "models": [ours, *others]}])


class Publisher:
    """An HTTP server with one document."""

    def __init__(self) -> None:
        self.body = published(2.5).encode()
        self.status = 200
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(publisher.status)
                self.send_header("Content-Length", str(len(publisher.body)))
                self.end_headers()
                self.wfile.write(publisher.body)

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/data.json"


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher()
    thread = threading.Thread(target=publisher.server.serve_forever)
    thread.start()
    yield publisher
    publisher.server.shutdown()
    thread.join()
    publisher.server.server_close()


def price_of(prices: Prices) -> Decimal | None:
    return cost_of(prices.book, "gpt-4o", 1_000_000, 0, at=NOON).total


def test_a_fetched_catalogue_is_in_force_in_every_process_at_its_next_reading(
    service_db: Database, publisher: Publisher
) -> None:
    prices = Prices(Notices())
    prices.refresh(service_db)
    before = prices.fingerprint(None)
    assert price_of(prices) == Decimal("2.5")
    publisher.body = published(2.25).encode()
    assert update_catalogue(service_db, publisher.url) is True
    prices.refresh(service_db)
    assert price_of(prices) == Decimal("2.25")
    assert prices.fingerprint(None) != before
    assert update_catalogue(service_db, publisher.url) is False
    publisher.body = published(2).encode()
    assert update_catalogue(service_db, publisher.url) is True
    prices.refresh(service_db)
    assert price_of(prices) == 2


def test_the_customers_prices_stay_above_a_fetched_catalogue(direct: Door, publisher: Publisher) -> None:
    service = direct.service()
    price: dict[str, JsonValue] = {
        "model": "gpt-4o", "valid_from": "2026-01-01", "rates": {"input": "1"}, "source": "contract"
    }  # fmt: skip
    service.call("add_price", price=price)
    publisher.body = published(2.25).encode()
    update_catalogue(service, publisher.url)
    prices = Prices(Notices())
    prices.refresh(service)
    assert price_of(prices) == 1


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b"", "cannot be fetched"),
        (302, b"", "cannot be fetched"),
        (200, b"\xff", "cannot be fetched"),
        (200, b"not json", "cannot be read"),
        (200, b"{}", "cannot be read"),
        (200, b"[]", "it has 0 of OpenAI's"),
        (200, published(2.5, models=3).encode(), "it has 3 of OpenAI's"),
        (200, published(0).encode(), "is not used"),
    ],
)
def test_what_is_not_fit_for_use_is_not_kept(
    shared_direct: Door, publisher: Publisher, status: int, body: bytes, reason: str
) -> None:
    publisher.status, publisher.body = status, body
    service = shared_direct.service()
    if body == published(0).encode():
        body_without_output = json.loads(body)
        body_without_output[0]["models"][0]["prices"] = {"input_mtok": 0, "output_mtok": 0}
        publisher.body = json.dumps(body_without_output).encode()
    with pytest.raises(CatalogueError, match=reason):
        update_catalogue(service, publisher.url)
    assert service.call("get_price_catalogue") is None


def test_an_endless_catalogue_is_cut_off(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.prices.catalogue._MAX_BYTES", 1000)
    with pytest.raises(CatalogueError, match="longer than"):
        update_catalogue(ScriptedDatabase(), publisher.url)


def test_only_the_last_ten_catalogues_are_kept(direct: Door) -> None:
    service = direct.service()
    for number in range(12):
        service.call("save_price_catalogue", source_url="u", reader_version="1", content=str(number))
    newest = service.call("get_price_catalogue")
    assert isinstance(newest, dict)
    assert newest["content"] == "11"
    document = service.call("get_prices")
    assert isinstance(document, dict)
    assert isinstance(document["catalogue"], dict)
    assert document["catalogue"]["catalogue_id"] == newest["catalogue_id"]
    assert "content" not in document["catalogue"]


def test_analysts_and_ops_read_the_catalogue_and_nobody_signed_in_writes_it(
    service_db: Database, viewer: Callable[[str], Database], anonymous: Database
) -> None:
    service_db.call("save_price_catalogue", source_url="u", reader_version="1", content="x")
    for role in ("analyst", "ops"):
        service_db.call("add_member", user_id=f"user_{role}", role=role)
        found = viewer(f"user_{role}").call("get_price_catalogue")
        assert isinstance(found, dict)
        assert found["content"] == "x"
        with pytest.raises(PermissionDeniedError):
            viewer(f"user_{role}").call("save_price_catalogue", source_url="u", reader_version="1", content="y")
    for stranger in (viewer("user_a"), anonymous):
        with pytest.raises(PermissionDeniedError):
            stranger.call("get_price_catalogue")


def described(reader_version: str) -> JsonValue:
    return {"prices": [], "catalogue": {"sha256": "new", "reader_version": reader_version}}


def test_a_catalogue_of_an_older_release_gives_way_to_the_bundled_one() -> None:
    database = ScriptedDatabase(get_prices=[described("0.0.1")])
    prices = Prices(Notices())
    prices.refresh(database)
    assert database.called == ["get_prices"]
    assert price_of(prices) == Decimal("2.5")


@pytest.mark.parametrize("answer", [None, {"sha256": "new", "content": "not json"}])
def test_a_catalogue_that_cannot_be_read_leaves_the_one_in_force(answer: JsonValue) -> None:
    database = ScriptedDatabase(get_prices=[described(version("genai-prices"))], get_price_catalogue=[answer])
    prices = Prices(Notices())
    prices.refresh(database)
    assert price_of(prices) == Decimal("2.5")


def test_an_answer_that_is_no_document_is_an_error_that_leaves_the_list_prices() -> None:
    prices = Prices(Notices())
    with pytest.raises(UnexpectedResponseError, match="get_prices"):
        prices.refresh(ScriptedDatabase())
    prices.refresh_if_due(ScriptedDatabase())
    assert price_of(prices) == Decimal("2.5")


def test_the_default_address_is_the_one_of_genai_prices() -> None:
    assert default_url() == DEFAULT_UPDATE_URL


def test_the_bundled_catalogue_has_enough_models_for_the_check() -> None:
    assert 100 < len(Catalogue().models("openai")) < 300
