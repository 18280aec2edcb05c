"""The files that docs/deploy.md gives to hosts start the app."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from streamlit.testing.v1 import AppTest

from tests.app.conftest import TIMEOUT_S

if TYPE_CHECKING:
    from tests.app.fake_database import FakeDatabase

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"


def test_the_entry_for_hosts_that_start_a_file_shows_the_app_and_its_pages(fake: FakeDatabase) -> None:
    app = AppTest.from_file(str(DEPLOY / "streamlit_app.py"), default_timeout=TIMEOUT_S).run()

    assert not app.exception
    assert app.metric
    assert ("get_overview" in {name for name, _ in fake.calls}) is True


def test_the_container_starts_the_app_under_the_path_that_the_proxy_passes_on() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    command = json.loads(dockerfile.rpartition("\nCMD ")[2])
    (base,) = (word.partition("=")[2] for word in command if word.startswith("--server.baseUrlPath="))
    assert re.findall(r"location /(\S+)/ \{", (DEPLOY / "nginx.conf").read_text()) == [base]
    assert f"/{base}/_stcore/health" in dockerfile
