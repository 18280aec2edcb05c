"""Runs the TypeScript of `tests/toolchain/edge` with Node, bundled by esbuild, and with Deno as it stands."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Literal

from tests.support import toolchain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Runtime = Literal["node", "deno"]

SOURCES = toolchain.FOLDER / "edge"
SHARED_FILE = toolchain.FOLDER.parents[1] / "supabase" / "functions" / "_shared" / "treering.ts"

_TIMEOUT_S = 240
# What CommonJS packages ask for inside a bundle that is a module.
_REQUIRE = 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);'
_HIDDEN = ("SUPABASE_", "TREERING_", "OPENAI_", "NODE_OPTIONS")


def bundle(source: Path, target: Path, *, other_packages: Mapping[str, str] | None = None) -> Path:
    """Make one JavaScript module of a TypeScript file and everything that it imports.

    Args:
        source: The TypeScript file.
        target: Where the module goes.
        other_packages: Packages to take in place of those that it names.
    """
    aliases = [f"--alias:{name}={other}" for name, other in (other_packages or {}).items()]
    options = ["--bundle", "--platform=node", "--format=esm", "--log-level=warning", f"--banner:js={_REQUIRE}"]
    _run([toolchain.program("esbuild"), source, *options, *aliases, f"--outfile={target}"])
    return target


def minified_size() -> int:
    """Bytes of the file for Edge Functions after esbuild."""
    return len(_run([toolchain.program("esbuild"), SHARED_FILE, "--minify", "--format=esm", "--target=es2022"]))


def run(
    runtime: Runtime,
    source: Path,
    folder: Path,
    *,
    command: Literal["run", "test"] = "run",
    given: str = "",
    env: Mapping[str, str] | None = None,
    other_packages: Mapping[str, str] | None = None,
) -> str:
    """Run a TypeScript file and return what it prints.

    Args:
        runtime: Node or Deno; Deno takes the packages as they are.
        source: The file.
        folder: For what comes up on the way.
        command: "test" uses the runtime's own test runner.
        given: Standard input.
        env: Environment beside the present one, which loses whatever would change the outcome.
        other_packages: As for `bundle`; with Node.

    Raises:
        AssertionError: It ended with an error; the message holds its output.
    """
    if runtime == "node":
        module = bundle(source, folder / f"{source.stem}.mjs", other_packages=other_packages)
        words: list[str | Path] = [toolchain.node(), *(["--test"] if command == "test" else []), module]
    else:
        options = ["--no-remote", "--no-prompt", "--quiet", "--node-modules-dir=manual"]
        rights = [
            "--allow-env",
            "--allow-read",
            "--allow-sys",
            "--allow-net=127.0.0.1",
        ]  # `ai` asks for the host's name
        words = [toolchain.program("deno"), command, *options, *rights, source]
    return _run(words, given, {"DENO_DIR": str(folder / "deno"), "DENO_NO_UPDATE_CHECK": "1", **(env or {})})


def check_types(*sources: Path) -> None:
    """Check that files are right in TypeScript's strictest reading.

    Raises:
        AssertionError: They are not; the message says where.
    """
    options = [
        *("--noEmit", "--strict", "--noUncheckedIndexedAccess", "--noImplicitReturns", "--noUnusedLocals"),
        *("--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2023,dom"),
        *("--allowImportingTsExtensions", "--skipLibCheck", "--types", "node"),
    ]
    _run([toolchain.program("tsc"), *options, *sources])


def _run(words: list[str | Path], given: str = "", env: Mapping[str, str] | None = None) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_HIDDEN)}
    result = subprocess.run(
        words,
        cwd=toolchain.FOLDER,
        input=given,
        env={**kept, **(env or {})},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
