"""Follows the README as somebody who installs the wheel: `uv run python -m tests.tools.try_wheel`.

Builds the wheel, installs it twice into environments of their own, and uses it in an empty folder: the core alone,
whose packages are counted, and everything, where `treering dashboard` must serve the app. Prints a line for each step.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BASE = "/dashboard/observability"
_IMPORT = """
import time
start = time.process_time()
import ingest
print(round((time.process_time() - start) * 1000))
"""
_CORE = """
import ingest
from ingest import ConfigurationError
try:
    ingest.configure(supabase_url="https://p.supabase.co", supabase_secret_key="k")
except ConfigurationError as error:
    print(error)
ingest.configure(supabase_db_url="postgresql://127.0.0.1:9/none")
ingest.record_usage(user_id="u", model="gpt-4o", prompt_tokens=1, completion_tokens=1)
assert ingest.stats().recorded == 1
ingest.shutdown(0)
"""


def main() -> None:
    """Try it all; a step that fails raises."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run(["uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)], folder)
        (wheel,) = folder.glob("*.whl")
        empty = folder / "empty"
        empty.mkdir()
        core = _install(folder / "core", str(wheel))
        site = next((folder / "core").glob("lib/python*/site-packages"))
        size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc")
        packages = len(list(site.glob("*.dist-info"))) - 1
        _say(f"core: {packages} packages beside treering, {size / 1e6:.0f} MB")
        _say(f"import ingest: {min(int(_run([str(core), '-c', _IMPORT], empty)) for _ in range(10))} ms of CPU")
        _say(_run([str(core), "-c", _CORE], empty).strip())
        everything = _install(folder / "all", f"{wheel}[all]")
        _say(_run([str(everything.with_name("treering")), "--help"], empty).strip().splitlines()[0])
        _try_dashboard(everything.with_name("treering"), empty)


def _install(environment: Path, requirement: str) -> Path:
    _run(["uv", "venv", "--quiet", str(environment)], environment.parent)
    python = environment / "bin" / "python"
    _run(["uv", "pip", "install", "--quiet", "--python", str(python), requirement], environment.parent)
    return python


def _try_dashboard(treering: Path, empty: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(treering), "dashboard", "--port", str(port), "--home", str(empty / "home")]
    app = subprocess.Popen(command, cwd=empty, env=_environment(empty))
    try:
        for path, expected in (("/_stcore/health", "ok"), ("/", "<title>")):
            assert expected in _fetch(f"http://127.0.0.1:{port}{_BASE}{path}")
        _say(f"treering dashboard serves {_BASE}")
    finally:
        app.terminate()
        app.wait(30)


def _fetch(url: str) -> str:
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SUPABASE_", "TREERING_"))}
    kept.pop("VIRTUAL_ENV", None)
    return {**kept, "TREERING_HOME": str(folder / "home")}


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env=_environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
