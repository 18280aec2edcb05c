"""Benchmarks: `uv run python -m tests.bench NAME` prints a JSON line a figure; without a name, all of them.

A module here with a function `run()` is a benchmark. Each row it yields has `name`, `value`, `unit` and, where another
library does the same in the same run, `peer`, `peer_value` and `ratio` (ours divided by the peer's). The first line
says what machine it was.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import platform
import sys

import tests.bench


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all."""
    known = sorted(module.name for module in pkgutil.iter_modules(tests.bench.__path__) if module.name[0] != "_")
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    print(json.dumps({"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}))
    for name in names or known:
        for row in importlib.import_module(f"tests.bench.{name}").run():
            print(json.dumps({"benchmark": name, **row}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
