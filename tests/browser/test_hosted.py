"""The guide of docs/hosted.md, walked from an empty project to the first chart; sign-ins and embedding in Chromium."""

from __future__ import annotations

import http.server
import re
import subprocess
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.browser.hosted_stage import EMBED_SECRET, KEY, HostedStage
from tests.support import toolchain
from tests.support.browser import press, visit
from tests.support.keys import key_set
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

    from tests.support.servers import Server

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.browser, pytest.mark.postgres15, pytest.mark.timeout(600)]


@pytest.fixture
def stage(postgres15_server: Server) -> Iterator[HostedStage]:
    database = postgres15_server.create_database(empty=True)
    stage = HostedStage(database)
    yield stage
    stage.close()
    database.drop()


def settle(stage: HostedStage, part: str) -> dict[str, str]:
    """Ask doctor until a part is well; what is left returns."""
    deadline = time.monotonic() + 120
    while part in (faults := stage.faults()):
        assert time.monotonic() < deadline, faults
    return faults


def walk_the_guide(stage: HostedStage, page: Page) -> None:
    """Go the steps of docs/hosted.md; each is missed by doctor before it is done, and not after."""
    database, api = stage.database, stage.api
    said = stage.init()
    assert "run `treering migrate`" in said
    assert f"register {stage.address}/oauth2callback" in said
    assert f"SUPABASE_URL={api.url}\n" in (stage.folder / ".env").read_text()

    assert "migrations applied" in stage.treering("migrate")
    faults = stage.faults()
    assert "Postgres door" not in faults
    assert "add observability to the exposed schemas" in faults["Supabase door"]

    api.change(database, schemas="public,observability")
    faults = stage.faults()
    assert "Supabase door" not in faults
    assert "import the same key, with its kid" in faults["viewers"]

    api.change(database, jwt_keys=key_set(KEY, stage.provider.key))
    faults = stage.faults()
    assert "viewers" not in faults
    assert "treering members add" in faults["members"]

    assert "is ops now" in stage.treering("members", "add", "user_ana", "--role", "ops")
    assert "treering worker" in stage.faults()["worker"]
    stage.start_worker()
    stage.record_a_call()
    stage.start_app()
    assert settle(stage, "worker").keys() <= {"aggregates", "backlog"}

    sign_in(page, stage.address)
    expect(page.get_by_role("button", name="Show data: Spend over time")).to_be_visible()
    expect(page.get_by_test_id("stMetric").filter(has_text="Requests").get_by_text("1", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(re.escape(stage.address)))


def sign_in(page: Page, address: str) -> None:
    visit(page, address)
    press(page.get_by_role("button", name="Sign in"))


def sign_in_with_passed_on_tokens(stage: HostedStage, page: Page) -> None:
    """Sign in without a role, with an expired token, and again."""
    provider, role = stage.provider, {"role": "authenticated", "aud": "authenticated"}
    address = stage.start_app_with(expose_tokens=["id", "access"])
    provider.access_claims = None
    sign_in(page, address)
    expect(page.get_by_text("has no claim role").first).to_be_visible()
    expect(page.get_by_text("You have no access")).to_have_count(0)
    press(page.get_by_role("button", name="Log out"))
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()

    provider.access_claims = {**role, "exp": int(time.time()) - 60}
    sign_in(page, address)
    expect(page.get_by_text("Your sign-in has expired").first).to_be_visible()
    provider.access_claims = role
    press(page.get_by_role("button", name="Sign in again").first)
    expect(page.get_by_role("button", name="Show data: Spend over time")).to_be_visible()


class Product(http.server.BaseHTTPRequestHandler):
    """A page of the product with the app in a frame, for whoever its server names."""

    def __init__(self, make_address: Callable[[], str], *arguments: object) -> None:
        self._make_address = make_address
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        body = f'<h1>Product</h1><iframe src="{self._make_address()}" width="1400" height="900"></iframe>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 -- the name in http.server
        """Keep quiet."""


@pytest.fixture
def product(stage: HostedStage) -> Iterator[Callable[[int], list[str]]]:
    """Serve the product's page on a port; the addresses of its frames return, in order."""
    servers = []

    def serve(port: int) -> list[str]:
        addresses: list[str] = []

        def make_address() -> str:
            addresses.append(f"{stage.address}/?embed=true&viewer_token={quote(viewer_token('user_ana', 'Ana'))}")
            return addresses[-1]

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), partial(Product, make_address))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        servers.append(server)
        return addresses

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def viewer_token(user_id: str, name: str) -> str:
    """What the product's server signs, by the code that docs/deploy has."""
    source = ROOT / "docs" / "deploy" / "viewer-token.ts"
    bundle = subprocess.run(
        [toolchain.program("esbuild"), source, "--format=esm", "--platform=node"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    call = f"\nprocess.stdout.write(viewerToken({user_id!r}, {name!r}, {EMBED_SECRET!r}));"
    command = [toolchain.node(), "--input-type=module", "--eval", bundle + call]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def embed(stage: HostedStage, page: Page, product: Callable[[int], list[str]]) -> None:
    """See the app in the product, for whom its server names, once; and in no other page."""
    addresses = product(stage.product_port)
    page.goto(f"http://127.0.0.1:{stage.product_port}/")
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("button", name="Show data: Spend over time")).to_be_visible()
    inner = page.frames[1]
    expect(frame.get_by_test_id("stMetric").filter(has_text="Requests").get_by_text("1", exact=True)).to_be_visible()
    inner.wait_for_function("() => !location.search.includes('viewer_token')")
    assert "viewer_token" not in stage.nginx.log

    page.goto(addresses[0])
    expect(page.get_by_text("This link was used before")).to_be_visible()

    strange = free_port()
    product(strange)
    refusals: list[str] = []
    page.on("console", lambda message: refusals.append(message.text))
    page.goto(f"http://127.0.0.1:{strange}/")
    deadline = time.monotonic() + 60
    while not any("frame-ancestors" in text for text in refusals):
        assert time.monotonic() < deadline, refusals
        page.wait_for_timeout(50)


def test_the_guide_leads_from_an_empty_project_to_the_first_chart_and_into_the_product(
    stage: HostedStage, page: Page, product: Callable[[int], list[str]]
) -> None:
    walk_the_guide(stage, page)
    sign_in_with_passed_on_tokens(stage, page)
    embed(stage, page, product)
